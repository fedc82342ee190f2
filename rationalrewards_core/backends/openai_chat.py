"""Any OpenAI-compatible chat server: vLLM, SGLang, llama.cpp's server, `transformers serve`, hosted ones.

Retried, with growing and jittered waits: 429 (its Retry-After is honoured), 5xx, timeouts, broken
connections and broken bodies. Not retried: every other 4xx; asking again would not change it. Prompts,
images and keys are never logged.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp

from ..errors import BackendError
from ..images import data_url, within_pixels
from ..messages import Message
from ..servers import ServerConfig
from .base import Finish, Reply, Sampling, TokenChoice

log = logging.getLogger("rationalrewards.backends.openai_chat")

FIRST_WAIT: Final = 0.5
"""Seconds before the first retry, on average; doubled each time."""
LONGEST_WAIT: Final = 30.0
"""No wait is longer, whatever a server asks for."""
_FINISH: Final = {"stop": Finish.STOP, "length": Finish.LENGTH}
_REASON_OF_STATUS: Final = {401: "unauthorized", 403: "unauthorized", 404: "model_not_found", 429: "rate_limited"}


class _Retryable(Exception):
    """An attempt failed in a way that another one may not; `wait` is what the server asked for, in seconds."""

    def __init__(self, error: BackendError, wait: float | None = None) -> None:
        super().__init__(str(error))
        self.error, self.wait = error, wait


class OpenAIChat:
    """One server. The session is made on first use and reused for every request."""

    def __init__(
        self,
        config: ServerConfig,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.config = config
        self._sleep = sleep
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gate = asyncio.Semaphore(config.concurrency)
        self._model = config.model
        self._structured = config.structured
        self._logprobs = config.logprobs
        self._noticed: set[str] = set()

    @property
    def identity(self) -> str:
        return f"openai_chat:{self.config.url}:{self.config.model}:{self.config.max_pixels}:{self.config.structured}"

    @property
    def concurrency(self) -> int:
        return self.config.concurrency

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        started = time.perf_counter()
        session = self._open_session()
        wire = await asyncio.to_thread(wire_messages, messages, self.config.max_pixels)
        async with self._gate:
            model = self._model or await self._first_model(session)
            answer = await self._answered(session, model, wire, sampling)
        return self._reply(answer, model, time.perf_counter() - started)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None and self._loop is asyncio.get_running_loop():
            await session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        """The session of the running loop; a session cannot outlive the loop it was made on."""
        loop = asyncio.get_running_loop()
        if self._session is None or self._session.closed or self._loop is not loop:
            key = self.config.key()
            self._session = aiohttp.ClientSession(
                headers={"Authorization": f"Bearer {key}"} if key else {},
                timeout=aiohttp.ClientTimeout(total=self.config.timeout_seconds, connect=self.config.connect_seconds),
                connector=aiohttp.TCPConnector(limit=self.config.concurrency),
            )
            self._loop, self._gate = loop, asyncio.Semaphore(self.config.concurrency)
        return self._session

    async def _answered(
        self, session: aiohttp.ClientSession, model: str, wire: list[dict[str, Any]], sampling: Sampling
    ) -> dict[str, Any]:
        """POST the question; options that the server turns out not to know are left out from then on."""
        while True:
            body = self._body(model, wire, sampling)
            call = functools.partial(self._call, session, "POST", "/chat/completions", body)
            try:
                return await self._retried(call)
            except BackendError as error:
                if error.status not in (400, 422) or not self._drop_option(str(error), body):
                    raise

    def _body(self, model: str, wire: list[dict[str, Any]], sampling: Sampling) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": model,
            "messages": wire,
            "temperature": sampling.temperature,
            "max_tokens": sampling.max_tokens,
        }
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if sampling.alternatives and self._logprobs:
            body |= {"logprobs": True, "top_logprobs": sampling.alternatives}
        if sampling.grammar is not None:
            body |= _grammar_option(self._structured, sampling.grammar)
        return body

    def _drop_option(self, complaint: str, body: Mapping[str, Any]) -> bool:
        """Whether a 400 was about an option that can be done without; if so it is not sent again."""
        if (
            "structured_outputs" in body
            and self._structured == "auto"
            and _mentions(complaint, "structured", "grammar")
        ):
            self._structured = "none"
            self._notice("grammar", "takes no grammar; replies are not guided")
            return True
        if "logprobs" in body and _mentions(complaint, "logprob"):
            self._logprobs = False
            self._notice("logprobs", "gives no token probabilities; expected and spread are not available")
            return True
        return False

    async def _first_model(self, session: aiohttp.ClientSession) -> str:
        answer = await self._retried(lambda: self._call(session, "GET", "/models", None))
        listed = answer.get("data")
        if not isinstance(listed, list) or not listed or not isinstance(listed[0].get("id"), str):
            raise BackendError(f"{self._who()} lists no model; set model in the config file.", reason="model_not_found")
        self._model = listed[0]["id"]
        return self._model

    async def _retried(self, call: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        for attempt in range(self.config.retries + 1):
            try:
                return await call()
            except _Retryable as failure:
                if attempt == self.config.retries:
                    raise failure.error from failure.__cause__
                wait = self._wait(attempt, failure.wait)
                log.debug("attempt %d failed (%s); next in %.1f s", attempt + 1, failure.error.reason, wait)
                await self._sleep(wait)
        raise AssertionError("unreachable")

    @staticmethod
    def _wait(attempt: int, asked: float | None) -> float:
        jittered: float = FIRST_WAIT * 2**attempt * random.uniform(0.5, 1.5)
        return min(LONGEST_WAIT, max(jittered, asked or 0.0))

    async def _call(
        self, session: aiohttp.ClientSession, method: str, path: str, body: dict[str, Any] | None
    ) -> dict[str, Any]:
        """One attempt. Raises _Retryable or BackendError; returns the JSON object of a 200."""
        try:
            async with session.request(method, self.config.url.rstrip("/") + path, json=body) as response:
                text = await response.text(errors="replace")
                if response.status != 200:
                    self._fail(response.status, text, response.headers.get("Retry-After"))
        except asyncio.TimeoutError as error:
            message = f"{self._who()} did not answer within {self.config.timeout_seconds:g} s."
            raise _Retryable(BackendError(message, reason="timeout")) from error
        except aiohttp.InvalidURL as error:
            raise BackendError(f"{self._who()} has an address that cannot be used.", reason="connection") from error
        except (aiohttp.ClientError, ConnectionError, OSError) as error:
            message = (
                f"{self._who()} cannot be reached or broke the connection ({type(error).__name__}); is it running?"
            )
            raise _Retryable(BackendError(message, reason="connection")) from error
        try:
            answer = json.loads(text)
        except ValueError as error:
            message = f"{self._who()} answered with something that is not JSON; is the url its /v1 address?"
            raise _Retryable(BackendError(message, reason="bad_reply", status=200)) from error
        if not isinstance(answer, dict):
            raise _Retryable(
                BackendError(f"{self._who()} answered with JSON of another form.", reason="bad_reply", status=200)
            )
        return answer

    def _fail(self, status: int, text: str, retry_after: str | None) -> None:
        """Raise the error of an HTTP status."""
        reason = _REASON_OF_STATUS.get(status, "server_error" if status >= 500 else "client_error")
        advice = {
            "unauthorized": "; check the key named in the config file",
            "model_not_found": "; check model and url in the config file",
            "rate_limited": "; lower concurrency in the config file",
        }.get(reason, "")
        error = BackendError(
            f"{self._who()} answered {status}{advice}: {_complaint(text)}", reason=reason, status=status
        )
        if status == 429 or status >= 500:
            raise _Retryable(error, _seconds(retry_after))
        raise error

    def _reply(self, answer: dict[str, Any], model: str, seconds: float) -> Reply:
        choices = answer.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None
        message = choice.get("message") if choice else None
        text = message.get("content") if isinstance(message, dict) else None
        finish = _FINISH.get(str(choice.get("finish_reason")) if choice else "", Finish.OTHER)
        if choice is None or (text is None and finish is not Finish.OTHER):
            raise BackendError(f"{self._who()} sent a reply without text.", reason="bad_reply", status=200)
        answered = str(answer.get("model") or model)
        if answered != model:
            self._notice("model", f"was asked for {model!r} and answers as {answered!r}")
        usage: dict[str, Any] = answer["usage"] if isinstance(answer.get("usage"), dict) else {}
        return Reply(
            text=str(text or ""),
            finish=finish,
            model=answered,
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
            seconds=seconds,
            tokens=_token_choices(choice.get("logprobs")),
        )

    def _who(self) -> str:
        return f"Server {self.config.name!r} ({self.config.url})"

    def _notice(self, topic: str, message: str) -> None:
        """Say something about the server once."""
        if topic not in self._noticed:
            self._noticed.add(topic)
            log.warning("server %r %s", self.config.name, message)


def wire_messages(messages: Sequence[Message], max_pixels: int) -> list[dict[str, Any]]:
    """Messages in the OpenAI form: text-only ones as strings, others as lists of parts."""
    wire: list[dict[str, Any]] = []
    for message in messages:
        if not message.images:
            wire.append({"role": message.role, "content": message.text})
            continue
        parts: list[dict[str, Any]] = [
            {"type": "text", "text": part}
            if isinstance(part, str)
            else {"type": "image_url", "image_url": {"url": data_url(within_pixels(part.convert("RGB"), max_pixels))}}
            for part in message.parts
        ]
        wire.append({"role": message.role, "content": parts})
    return wire


def _grammar_option(structured: str, grammar: str) -> dict[str, Any]:
    match structured:
        case "auto" | "vllm":
            return {"structured_outputs": {"grammar": grammar}}
        case "sglang":
            return {"ebnf": grammar}
        case "llama_cpp":
            return {"grammar": grammar}
    return {}


def _mentions(text: str, *words: str) -> bool:
    lowered = text.casefold()
    return any(word in lowered for word in words)


def _complaint(text: str) -> str:
    """What a server says in an error, as one short line."""
    try:
        error = json.loads(text)
        error = error.get("error", error) if isinstance(error, dict) else error
        said = error.get("message", error.get("detail", error)) if isinstance(error, dict) else error
    except ValueError:
        said = text
    return " ".join(str(said).split())[:300] or "(no explanation)"


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After as seconds: a number or an HTTP date; None if absent or unreadable."""
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            moment = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        seconds = (moment - datetime.now(timezone.utc)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _token_choices(logprobs: Any) -> tuple[TokenChoice, ...]:
    """OpenAI's `logprobs.content` as token choices; whatever has another form is left out."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list):
        return ()
    choices = []
    for row in content:
        if not isinstance(row, dict) or not isinstance(row.get("token"), str):
            return ()
        top = row.get("top_logprobs") or []
        pairs = [
            (str(t["token"]), math.exp(t["logprob"]))
            for t in top
            if isinstance(t, dict) and t.get("logprob") is not None
        ]
        choices.append(TokenChoice(row["token"], tuple(pairs)))
    return tuple(choices)
