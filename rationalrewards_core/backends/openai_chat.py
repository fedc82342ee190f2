"""Any OpenAI-compatible chat server: vLLM, SGLang, llama.cpp's server, `transformers serve`, hosted ones.

Here is the conversation; `server_calls` does the HTTP, `server_probe` finds out once what the server honours,
`chat_options` says what is sent beside a question, `openai_reply` reads what comes back.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ..errors import BackendError
from ..messages import Message
from ..picture_grid import PictureGrid, grid_of_folder, grid_of_side
from ..servers import ServerConfig
from .base import Reply, Sampling
from .chat_options import ChatOptions
from .openai_reply import ReplyReader
from .openai_wire import listed_model, model_digest, named_alike, token_count, wire_messages
from .profile_store import profile_key, remember, remembered
from .server_calls import FIRST_WAIT, RetryableError, ServerCalls
from .server_probe import SHORT, probed
from .server_profile import ServerProfile, assumed_profile
from .server_software import context_of, software_of
from .sight import sight_of

log = logging.getLogger("rationalrewards.backends.openai_chat")

QUESTIONS: Final = "/chat/completions"


class OpenAIChat:
    """One server. Its session is made on first use and reused for every request."""

    def __init__(
        self,
        config: ServerConfig,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        grid: PictureGrid | None = None,
        place: str = "",
    ) -> None:
        """`grid` is known beforehand of some; `place` is what profiles are remembered under, else it is the address."""
        self.config = config
        self._stated_grid, self._place = grid, place or config.url
        self._sleep = sleep
        self._calls: ServerCalls | None = None
        self._model = config.model
        self._options = ChatOptions(config)
        self._grid: PictureGrid | None = grid
        self._listing = ""
        self._introducing = asyncio.Lock()
        self._acquaintance: ServerCalls | BackendError | None = None

    @property
    def identity(self) -> str:
        """Address, model as the server lists it, and the settings that change replies."""
        config, profile = self.config, self.profile
        thinking = f":{sorted(config.chat_template.items())}:{config.thinking_tokens}"
        return (
            f"openai_chat:{config.url}:{config.model}:{config.max_pixels}:{','.join(profile.grammar)}:"
            f"{bool(profile.alternatives)}{thinking}:{self._grid}:{self._listing}"
        )

    @property
    def profile(self) -> ServerProfile:
        """What the server honours; what servers usually do until `introduce` has been awaited."""
        return self._options.profile

    @property
    def grid(self) -> PictureGrid | None:
        """How pictures are scaled before they are sent; None until `introduce`, and where it is not known."""
        return self._grid

    @property
    def concurrency(self) -> int:
        return self.config.concurrency

    async def introduce(self) -> None:
        """Learn which model the server lists and what it honours, and see to it that it sees pictures; once per connection.

        BackendError with reason `no_sight` if it does not see them, `model_changed` if it came back with another model.
        """
        calls = await self._connected()
        if self._acquaintance is calls:
            return
        async with self._introducing:
            if isinstance(self._acquaintance, BackendError):
                raise self._acquaintance
            if self._acquaintance is calls:
                return
            await self._meet(calls)
            self._acquaintance = calls

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        started = time.perf_counter()
        calls = await self._connected()
        async with calls.gate:
            wire = await asyncio.to_thread(wire_messages, messages, self.config.max_pixels, self._grid)
            model = self._model or await self._first_model(calls)
            answer = await self._answered(calls, model, wire, sampling)
        reader = ReplyReader(self.config, calls.who, calls.key)
        reply = reader.read(answer, model, sampling, time.perf_counter() - started)
        if not named_alike(model, reply.model):
            self._options.notice("model", f"was asked for {model!r} and answers as {reply.model!r}")
        return reply

    async def close(self) -> None:
        calls, self._calls = self._calls, None
        if calls is not None:
            await calls.close()

    async def _connected(self) -> ServerCalls:
        """The session of the running event loop."""
        old = self._calls
        if old is not None and old.usable:
            return old
        calls = ServerCalls(self.config, self._sleep, self._look_again)
        self._calls = calls
        self._introducing, self._acquaintance = asyncio.Lock(), None
        if old is not None:
            await old.close()
        return calls

    async def _meet(self, calls: ServerCalls) -> None:
        entry = await self._entry(calls)
        self._model = self.config.model or str(entry.get("id") or "")
        self._listing = model_digest(entry)
        self._options.profile = await self._profile(calls, entry)
        self._grid = self._grid_of(entry)

    async def _profile(self, calls: ServerCalls, entry: Mapping[str, Any]) -> ServerProfile:
        """The profile remembered for this model and version, or found out now."""
        config = self.config
        if not (config.probe or config.check_sight):
            return replace(assumed_profile(config), model=self._model)
        software = await software_of(calls, entry)
        under = (config.structured, config.logprobs, config.chat_template, config.probe, config.check_sight)
        context = context_of(entry) or software.context
        key = profile_key(self._place, self._model, self._listing, software, context, under)
        profile = remembered(key, on_disk=config.remember)
        if profile is None:
            self._options.profile = replace(
                assumed_profile(config), model=self._model, software=software.name, context=context
            )
            if config.check_sight:
                await self._see(calls)
            if config.probe:
                self._options.profile = await probed(functools.partial(self._short, calls), self.profile)
                for line in self.profile.lines():
                    log.info("server %r: %s", config.name, line)
            profile = self.profile
            remember(key, profile, on_disk=config.remember)
        if profile.probed and not profile.guided and config.structured != "none":
            self._options.notice("grammar", "takes no grammar; replies are not guided")
        return profile

    async def _see(self, calls: ServerCalls) -> None:
        """BackendError (`no_sight`) unless the model sees pictures; else note how many, and in which grid."""

        async def prompt_tokens(messages: Sequence[Message]) -> int:
            model = self._model or await self._first_model(calls)
            wire = await asyncio.to_thread(wire_messages, messages, self.config.max_pixels)
            answer = await self._answered(calls, model, wire, Sampling(max_tokens=SHORT))
            return token_count(answer.get("usage"), "prompt_tokens")

        try:
            sight = await sight_of(prompt_tokens)
        except ValueError:
            self._options.notice("sight", "counts no tokens, so it cannot show that it sees pictures")
            return
        if sight.blind:
            self._acquaintance = BackendError(
                f"{calls.who} does not see pictures: {sight.blind}; serve a vision-language model (llama.cpp needs its "
                "--mmproj too), or set check_sight = false in the config file.",
                reason="no_sight",
            )
            raise self._acquaintance
        self._options.profile = replace(self.profile, pictures=sight.pictures, grid=sight.grid)

    async def _short(self, calls: ServerCalls, question: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Ask a probe's question. What a server breaks over is not asked again; a server that is busy or gone is."""
        model = self._model or await self._first_model(calls)
        wire, sampling = [{"role": "user", "content": question}], Sampling(max_tokens=SHORT)
        if not fields:
            return await self._answered(calls, model, wire, sampling)
        body = {**self._options.body(model, wire, sampling), **fields}
        if "max_tokens" in fields:
            body[self.profile.limit] = body.pop("max_tokens")

        async def once() -> dict[str, Any]:
            try:
                return await calls.call("POST", QUESTIONS, body)
            except RetryableError as failure:
                if failure.error.status == 500:
                    raise failure.error from failure.__cause__
                raise

        return await calls.retried(once)

    def _grid_of(self, entry: Mapping[str, Any]) -> PictureGrid | None:
        """The checkpoint's own grid where its folder can be read, else the one that token counts show."""
        if self._stated_grid is not None:
            return self._stated_grid
        folder = self.config.processor or entry.get("root") or ""
        stated = grid_of_folder(Path(folder)) if isinstance(folder, str) and folder else None
        return stated or grid_of_side(self.profile.grid)

    async def _look_again(self) -> None:
        """After an outage: BackendError (`model_changed`) if another model came back; scores of two judges never mix."""
        calls = self._calls
        if calls is None or self._acquaintance is not calls:
            return
        before, entry = self._listing, await self._entry(calls)
        if entry and model_digest(entry) != before:
            self._acquaintance = BackendError(
                f"{calls.who} came back with another model than this run began with; start the run again to "
                "be judged by it.",
                reason="model_changed",
            )
            raise self._acquaintance

    async def _answered(
        self, calls: ServerCalls, model: str, wire: list[dict[str, Any]], sampling: Sampling
    ) -> dict[str, Any]:
        """POST the question; options that the server turns out not to know are left out from then on."""
        while True:
            body = self._options.body(model, wire, sampling)
            try:
                return await calls.retried(functools.partial(self._asked, calls, body))
            except BackendError as error:
                if error.status == 404 and not self.config.model:
                    self._model = ""  # the server may have been started again with another one
                if error.status not in (400, 422):
                    raise
                if not self._options.refused(str(error), body, sampling.grammar):
                    return await self._without_options(calls, body, error)

    async def _asked(self, calls: ServerCalls, body: dict[str, Any]) -> dict[str, Any]:
        """One attempt, and after a 500 another one without stop texts: some servers break over them.

        Only an answer to the second proves that; from then on the reply is cut here alone.
        """
        try:
            return await calls.call("POST", QUESTIONS, body)
        except RetryableError as failure:
            if failure.error.status != 500 or "stop" not in body:
                raise
            await self._sleep(FIRST_WAIT)  # a server that broke closes the connection, a moment after its 500
            try:
                plain = {name: value for name, value in body.items() if name != "stop"}
                answer = await calls.call("POST", QUESTIONS, plain)
            except (RetryableError, BackendError):
                raise failure from failure.__cause__
        self._options.breaks_over_stop_texts()
        return answer

    async def _without_options(
        self, calls: ServerCalls, body: Mapping[str, Any], refusal: BackendError
    ) -> dict[str, Any]:
        """Ask once more without any option, after a 400 that names no field; raises `refusal` if that is no help."""
        names = self._options.optional(str(refusal), body)
        if not names:
            raise refusal
        plain = {name: value for name, value in body.items() if name not in names}
        try:
            answer = await calls.retried(functools.partial(calls.call, "POST", QUESTIONS, plain))
        except BackendError:
            raise refusal from None
        self._options.left_out(names)
        return answer

    async def _first_model(self, calls: ServerCalls) -> str:
        name = (await self._entry(calls)).get("id")
        if not isinstance(name, str) or not name:
            raise BackendError(f"{calls.who} lists no model; set model in the config file.", reason="model_not_found")
        self._model = name
        return name

    async def _entry(self, calls: ServerCalls) -> dict[str, Any]:
        """What the server says of the model it serves; nothing if it lists none, or breaks over the list."""

        async def once() -> dict[str, Any]:
            try:
                return await calls.call("GET", "/models")
            except RetryableError as failure:
                if failure.error.status == 500:  # `transformers serve` without a cache folder
                    raise failure.error from failure.__cause__
                raise

        try:
            return listed_model(await calls.retried(once), self.config.model)
        except BackendError as error:
            if error.status is None:
                raise  # it is not there at all
            return {}
