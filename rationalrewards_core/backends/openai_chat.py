"""Any OpenAI-compatible chat server: vLLM, SGLang, llama.cpp's server, `transformers serve`, hosted ones.

Retried, with growing and jittered waits: 429 (its Retry-After is honoured), 5xx, timeouts, broken
connections and broken bodies. Not retried: every other 4xx; asking again would not change it. Redirects
are not followed: images and keys go to the server the user named and to no other. Prompts, images and
keys are never logged.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import aiohttp

from ..errors import BackendError
from ..messages import Message
from ..servers import ServerConfig
from .base import Finish, Reply, Sampling
from .openai_wire import (
    LIKELY_SECRET,
    LONGEST_COMPLAINT,
    complaint,
    content_text,
    first_choice,
    grammar_option,
    json_object,
    model_digest,
    redacted,
    retry_seconds,
    token_choices,
    token_count,
    wire_messages,
)
from .sight import why_blind

log = logging.getLogger("rationalrewards.backends.openai_chat")

FIRST_WAIT: Final = 0.5
"""Seconds before the first retry, on average; doubled each time."""
LONGEST_WAIT: Final = 30.0
"""No wait is longer, whatever a server asks for."""
LARGEST_ANSWER: Final = 64 * 2**20
"""Bytes of an answer, unpacked; a server that sends more is not a chat server."""
_FINISH: Final = {
    **dict.fromkeys(("stop", "eos", "eos_token", "stop_sequence", "end_turn"), Finish.STOP),
    **dict.fromkeys(("length", "max_tokens"), Finish.LENGTH),
}
"""How servers call an end, in any case; one that says nothing at all is an old one and has ended."""
_NAMED_IN_A_400: Final = (
    "model",
    "message",
    "prompt",
    "field",
    "image",
    "content",
    "context",
    "token",
    "role",
    "template",
    "max_",
)
"""Words of a 400 that is about the question itself; leaving options out would not help."""
_REASON_OF_STATUS: Final = {401: "unauthorized", 403: "unauthorized", 404: "model_not_found", 429: "rate_limited"}


_SEEING: Final[set[tuple[str, str, str]]] = set()
"""Address, model and listing of the servers that showed in this process that they see pictures."""


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
        self._key = ""
        self._model = config.model
        self._structured = config.structured
        self._logprobs = config.logprobs
        self._seed = self._temperature = self._stop = True
        self._limit = "max_tokens"
        self._noticed: set[str] = set()
        self._listing = ""
        self._introducing = asyncio.Lock()
        self._acquaintance: aiohttp.ClientSession | BackendError | None = None

    @property
    def identity(self) -> str:
        """Address, model as the server lists it, and the settings that change replies."""
        config = self.config
        template = f":{sorted(config.template.items())}" if config.template else ""
        return (
            f"openai_chat:{config.url}:{config.model}:{config.max_pixels}:{config.structured}:{config.logprobs}{template}"
            f":{self._listing}"
        )

    @property
    def concurrency(self) -> int:
        return self.config.concurrency

    async def introduce(self) -> None:
        """Learn which model the server lists, and see to it that it sees pictures; once per connection.

        BackendError with reason `no_sight` if it does not see them.
        """
        session, _ = await self._open_session()
        if self._acquaintance is session:
            return
        async with self._introducing:
            if isinstance(self._acquaintance, BackendError):
                raise self._acquaintance
            if self._acquaintance is session:
                return
            entry = await self._entry(session)
            self._model = self.config.model or str(entry.get("id") or "")
            self._listing = model_digest(entry)
            if self.config.check_sight:
                await self._check_sight(session)
            self._acquaintance = session

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        started = time.perf_counter()
        session, gate = await self._open_session()
        async with gate:
            wire = await asyncio.to_thread(wire_messages, messages, self.config.max_pixels)
            model = self._model or await self._first_model(session)
            answer = await self._answered(session, model, wire, sampling)
        return self._reply(answer, model, sampling, time.perf_counter() - started)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None and (self._loop is asyncio.get_running_loop() or _ended(self._loop)):
            await session.close()

    async def _open_session(self) -> tuple[aiohttp.ClientSession, asyncio.Semaphore]:
        """Session and gate of the running loop; neither can outlive the loop it was made on."""
        loop = asyncio.get_running_loop()
        old = self._session
        if old is None or old.closed or self._loop is not loop:
            ended = _ended(self._loop)
            self._key = self.config.key()
            self._session = aiohttp.ClientSession(
                headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
                timeout=aiohttp.ClientTimeout(total=self.config.timeout_seconds, connect=self.config.connect_seconds),
                connector=aiohttp.TCPConnector(limit=self.config.concurrency),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            self._loop, self._gate = loop, asyncio.Semaphore(self.config.concurrency)
            self._introducing, self._acquaintance = asyncio.Lock(), None
            session, gate = self._session, self._gate
            if old is not None and ended:
                await old.close()
            return session, gate
        return old, self._gate

    async def _answered(
        self, session: aiohttp.ClientSession, model: str, wire: list[dict[str, Any]], sampling: Sampling
    ) -> dict[str, Any]:
        """POST the question; options that the server turns out not to know are left out from then on."""
        while True:
            body = self._body(model, wire, sampling)
            try:
                return await self._retried(functools.partial(self._asked, session, body))
            except BackendError as error:
                if error.status == 404 and not self.config.model:
                    self._model = ""  # the server may have been started again with another one
                if error.status not in (400, 422):
                    raise
                if not self._drop_option(str(error), body):
                    return await self._without_options(session, body, error)

    async def _asked(self, session: aiohttp.ClientSession, body: dict[str, Any]) -> dict[str, Any]:
        """One attempt, and after a 500 another one without stop texts: some servers break over them.

        Only an answer to the second proves that; from then on the reply is cut here alone.
        """
        call = functools.partial(self._call, session, "POST", "/chat/completions")
        try:
            return await call(body)
        except _Retryable as failure:
            if failure.error.status != 500 or "stop" not in body:
                raise
            await self._sleep(FIRST_WAIT)  # a server that broke closes the connection, a moment after its 500
            try:
                answer = await call({name: value for name, value in body.items() if name != "stop"})
            except (_Retryable, BackendError):
                raise failure from failure.__cause__
        self._stop = False
        self._notice("stop", "answers only without stop texts; replies are written to their end and cut here")
        return answer

    def _body(self, model: str, wire: list[dict[str, Any]], sampling: Sampling) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": model,
            "messages": wire,
            self._limit: sampling.max_tokens,
        }
        if self.config.template:
            body["chat_template_kwargs"] = dict(self.config.template)
        if self._temperature:
            body["temperature"] = sampling.temperature
        if sampling.stop and self._stop:
            body["stop"] = list(sampling.stop)
        if sampling.seed is not None and self._seed:
            body["seed"] = sampling.seed
        if sampling.alternatives and self._logprobs:
            body |= {"logprobs": True, "top_logprobs": sampling.alternatives}
        if sampling.grammar is not None:
            body |= grammar_option(self._structured, sampling.grammar)
        return body

    def _drop_option(self, said: str, body: Mapping[str, Any]) -> bool:
        """Whether a 400 was about an option that can be done without or said otherwise; if so it is not sent again.

        `body` is what was refused: with many requests under way, several come back refused for one option.
        """
        guided = "structured_outputs" in body and self.config.structured == "auto"
        if guided and _mentions(said, "structured", "grammar"):
            self._structured = "none"
            self._notice("grammar", "takes no grammar; replies are not guided")
            return True
        if "logprobs" in body and _mentions(said, "logprob"):
            self._logprobs = False
            self._notice("logprobs", "gives no token probabilities; expected and spread are not available")
            return True
        if "seed" in body and _mentions(said, "seed"):
            self._seed = False
            self._notice("seed", "takes no seed; sampled replies are not repeatable")
            return True
        # Hosted models that think before they answer have another name for the limit, and one temperature.
        if "max_tokens" in body and _mentions(said, "max_completion_tokens"):
            self._limit = "max_completion_tokens"
            return True
        if "temperature" in body and _mentions(said, "temperature"):
            self._temperature = False
            self._notice("temperature", "takes no temperature; replies are not repeatable")
            return True
        return False

    async def _without_options(
        self, session: aiohttp.ClientSession, body: Mapping[str, Any], refusal: BackendError
    ) -> dict[str, Any]:
        """Ask once more without any option, after a 400 that names no field; raises `refusal` if that is no help.

        Only an answer proves that an option was the trouble: one bad question must not change the others.
        """
        optional = sorted({"structured_outputs", "logprobs", "top_logprobs", "seed"} & body.keys())
        if self.config.structured != "auto" and "structured_outputs" in optional:
            optional.remove("structured_outputs")  # the user has said that the server takes it
        if not optional or _mentions(str(refusal), *_NAMED_IN_A_400):
            raise refusal
        plain = {name: value for name, value in body.items() if name not in optional}
        try:
            answer = await self._retried(functools.partial(self._call, session, "POST", "/chat/completions", plain))
        except BackendError:
            raise refusal from None
        self._structured = "none" if "structured_outputs" in optional else self._structured
        self._logprobs, self._seed = (
            self._logprobs and "logprobs" not in optional,
            self._seed and "seed" not in optional,
        )
        self._notice("options", f"answers only without {', '.join(optional)}; they are left out from now on")
        return answer

    async def _first_model(self, session: aiohttp.ClientSession) -> str:
        name = self._first(await self._retried(lambda: self._call(session, "GET", "/models", None))).get("id")
        if not isinstance(name, str) or not name:
            raise BackendError(f"{self._who()} lists no model; set model in the config file.", reason="model_not_found")
        self._model = name
        return name

    def _first(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The entry of the configured model in a list of models, else the first one, else nothing."""
        listed = answer.get("data")
        entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
        named = [entry for entry in entries if entry.get("id") == self.config.model]
        return next(iter(named or entries), {})

    async def _entry(self, session: aiohttp.ClientSession) -> dict[str, Any]:
        """What the server says of the model it serves; nothing if it lists none."""
        try:
            return self._first(await self._retried(lambda: self._call(session, "GET", "/models", None)))
        except BackendError as error:
            if error.status is None:
                raise  # it is not there at all
            return {}

    async def _check_sight(self, session: aiohttp.ClientSession) -> None:
        place = (self.config.url, self._model, self._listing)
        if place in _SEEING:
            return

        async def prompt_tokens(messages: Sequence[Message]) -> int:
            model = self._model or await self._first_model(session)
            wire = await asyncio.to_thread(wire_messages, messages, self.config.max_pixels)
            answer = await self._answered(session, model, wire, Sampling(max_tokens=16))
            return token_count(answer.get("usage"), "prompt_tokens")

        try:
            why = await why_blind(prompt_tokens)
        except ValueError:
            self._notice("sight", "counts no tokens, so it cannot show that it sees pictures")
            why = None
        if why is not None:
            self._acquaintance = BackendError(
                f"{self._who()} does not see pictures: {why}; serve a vision-language model (llama.cpp needs its --mmproj "
                "too), or set check_sight = false in the config file.",
                reason="no_sight",
            )
            raise self._acquaintance
        _SEEING.add(place)

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
        url = self.config.url.rstrip("/") + path
        try:
            async with session.request(method, url, json=body, allow_redirects=False) as response:
                text = await self._text(response)
                if response.status != 200:
                    self._fail(response.status, text, response.headers.get("Retry-After"))
        except aiohttp.ServerTimeoutError as error:
            message = f"{self._who()} could not be reached within {self.config.connect_seconds:g} s; is it running?"
            raise _Retryable(BackendError(message, reason="timeout")) from error
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
        answer = json_object(text)
        if answer is None:
            message = f"{self._who()} answered with something that is no JSON object; is the url its /v1 address?"
            raise _Retryable(BackendError(message, reason="bad_reply", status=200))
        return answer

    async def _text(self, response: aiohttp.ClientResponse) -> str:
        content = bytearray()
        async for chunk in response.content.iter_any():
            content += chunk
            if len(content) > LARGEST_ANSWER:
                message = f"{self._who()} sent more than {LARGEST_ANSWER} bytes; that is no reply."
                raise BackendError(message, reason="bad_reply", status=response.status)
        return content.decode("utf-8", "replace")

    def _fail(self, status: int, text: str, retry_after: str | None) -> None:
        """Raise the error of an HTTP status."""
        reason = _REASON_OF_STATUS.get(status, "server_error" if status >= 500 else "client_error")
        if 300 <= status < 400:
            reason = "redirected"
        advice = {
            "unauthorized": "; check the key named in the config file",
            "model_not_found": "; check model and url in the config file",
            "redirected": "; it points elsewhere, give that address as url in the config file",
            "rate_limited": "; lower concurrency in the config file",
        }.get(reason, "")
        message = f"{self._who()} answered {status}{advice}: {complaint(text, self._key)}"
        error = BackendError(message, reason=reason, status=status)
        if status == 429 or status >= 500:
            raise _Retryable(error, retry_seconds(retry_after))
        raise error

    def _reply(self, answer: dict[str, Any], model: str, sampling: Sampling, seconds: float) -> Reply:
        choice = first_choice(answer)
        failure = answer if answer.get("error") or choice is None else choice
        if choice is None or failure.get("error"):  # whatever text stands beside an error is cut off somewhere
            said = f": {complaint(json.dumps(failure), self._key)}" if failure.get("error") else ""
            raise BackendError(f"{self._who()} sent no reply in its answer{said}.", reason="bad_reply", status=200)
        message = choice["message"]
        said_finish = choice.get("finish_reason")
        finish = Finish.STOP if said_finish is None else _FINISH.get(str(said_finish).lower(), Finish.OTHER)
        usage = answer.get("usage")
        if finish is Finish.STOP and token_count(usage, "completion_tokens") >= sampling.max_tokens:
            finish = Finish.LENGTH  # some servers call every end a stop
        written = content_text(message.get("content"))
        refusal = content_text(message.get("refusal"))
        if refusal and not written:
            said = redacted(refusal, self._key)[:LONGEST_COMPLAINT]
            raise BackendError(f"{self._who()} refused to judge: {said}", reason="refused", status=200)
        if not written and any(content_text(message.get(key)) for key in ("reasoning_content", "reasoning")):
            raise BackendError(
                f"{self._who()} only thought and wrote no reply; raise max_tokens, or turn thinking off: under "
                f"[servers.{self.config.name}.template] in the config file, enable_thinking = false.",
                reason="bad_reply",
                status=200,
            )
        if written is None and (finish is Finish.STOP or message.get("content") is not None):
            raise BackendError(f"{self._who()} sent a reply without text.", reason="bad_reply", status=200)
        text = redacted(written or "", self._key) if len(self._key) >= LIKELY_SECRET else written or ""
        cut = min((text.index(ending) for ending in sampling.stop if ending in text), default=None)
        answered = redacted(content_text(answer.get("model")) or model, self._key)
        if answered != model:
            self._notice("model", f"was asked for {model!r} and answers as {answered!r}")
        return Reply(
            text=text[:cut],
            finish=finish if cut is None else Finish.STOP,
            model=answered,
            prompt_tokens=token_count(usage, "prompt_tokens"),
            completion_tokens=token_count(usage, "completion_tokens"),
            seconds=seconds,
            tokens=token_choices(choice.get("logprobs")) if text == written else (),
        )

    def _who(self) -> str:
        return f"Server {self.config.name!r} ({self.config.url})"

    def _notice(self, topic: str, message: str) -> None:
        """Say something about the server once."""
        if topic not in self._noticed:
            self._noticed.add(topic)
            log.warning("server %r %s", self.config.name, message)


def _ended(loop: asyncio.AbstractEventLoop | None) -> bool:
    return loop is not None and loop.is_closed()


def _mentions(text: str, *words: str) -> bool:
    lowered = text.casefold()
    return any(word in lowered for word in words)
