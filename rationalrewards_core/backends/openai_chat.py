"""A server of OpenAI's chat protocol: vLLM, llama.cpp's, `transformers serve` (measured: docs/servers.md), and others.

Here a server is met and replies; `server_calls` does the HTTP, `chat_session` asks, `chat_options` says what is sent beside
a question, `server_probe` finds out once what the server honours, `openai_reply` reads what comes back.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import BackendError
from ..gguf.tower_grid import grid_of_processor
from ..messages import Message
from ..picture_grid import PictureGrid, grid_of_folder, grid_of_side
from ..servers import ServerConfig
from .base import Reply, Sampling
from .chat_options import ChatOptions
from .chat_session import ChatSession
from .openai_reply import ReplyReader
from .openai_wire import model_digest, named_alike, token_count, wire_messages
from .profile_store import profile_key, remember, remembered
from .server_calls import ServerCalls
from .server_probe import SHORT, probed
from .server_profile import ServerProfile, assumed_profile
from .server_software import context_of, software_of
from .sight import sight_of

log = logging.getLogger("rationalrewards.backends.openai_chat")


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
        self._session: ChatSession | None = None
        self._options = ChatOptions(config)
        self._grid: PictureGrid | None = grid
        self._listing = ""
        self._introducing = asyncio.Lock()
        self._acquaintance: ChatSession | BackendError | None = None
        """The session in which `introduce` has met the server, or why the server cannot be used."""
        self._anew = False
        """Whether what is remembered of the server does not count, the next time that it is met."""

    @property
    def identity(self) -> str:
        """Address, model as the server lists it, and the settings that change replies."""
        config, profile = self.config, self.profile
        thinking = f":{sorted(config.chat_template.items())}:{config.thinking_tokens}"
        fields = f":{json.dumps(config.fields, sort_keys=True)}" if config.fields else ""
        return (
            f"openai_chat:{config.url}:{config.model}:{config.max_pixels}:{','.join(profile.grammar)}:"
            f"{bool(profile.alternatives)}{thinking}:{self._grid}:{self._listing}{fields}"
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

    def forget(self) -> None:
        """Find out anew what the server honours when it is next met, whatever is remembered of it."""
        self._anew, self._acquaintance = True, None

    async def introduce(self) -> None:
        """Learn which model the server lists and what it honours, and see to it that it sees pictures; once per connection.

        BackendError with reason `no_sight` if it does not see them, `model_changed` if it came back with another model.
        """
        session = await self._connected()
        if self._acquaintance is session:
            return
        async with self._introducing:
            if isinstance(self._acquaintance, BackendError):
                raise self._acquaintance
            if self._acquaintance is session:
                return
            await self._meet(session)
            self._acquaintance = session

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        started = time.perf_counter()
        session = await self._connected()
        calls = session.calls
        async with calls.gate:
            wire = await asyncio.to_thread(wire_messages, messages, self.config.max_pixels, self._grid)
            model = await session.model()
            answer = await session.answered(wire, sampling)
        reader = ReplyReader(self.config, calls.who, calls.key)
        reply = reader.read(answer, model, sampling, time.perf_counter() - started)
        if not named_alike(model, reply.model):
            self._options.notice("model", f"was asked for {model!r} and answers as {reply.model!r}")
        return reply

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.calls.close()

    async def _connected(self) -> ChatSession:
        """The session of the running event loop."""
        old = self._session
        if old is not None and old.calls.usable:
            return old
        calls = ServerCalls(self.config, self._sleep, self._check_model)
        session = ChatSession(calls, self._options, self._sleep)
        self._session = session
        self._introducing, self._acquaintance = asyncio.Lock(), None
        if old is not None:
            await old.calls.close()
        return session

    async def _meet(self, session: ChatSession) -> None:
        """Take down the model that is listed, the grid of its pictures, and the profile."""
        entry = await session.listed()
        self._listing = model_digest(entry)
        self._grid = self._grid_of(entry)
        self._options.profile = await self._profile(session, entry)
        self._grid = self._grid or grid_of_side(self.profile.grid)

    async def _profile(self, session: ChatSession, entry: Mapping[str, Any]) -> ServerProfile:
        """The profile remembered for this model and version, or found out now."""
        config = self.config
        model = config.model or str(entry.get("id") or "")
        if not (config.probe or config.check_sight):
            return replace(assumed_profile(config), model=model)
        software = await software_of(session.calls, entry)
        settings = (config.structured, config.logprobs, config.chat_template, config.fields)
        under = (*settings, config.probe, config.check_sight)
        context = context_of(entry) or software.context
        key = profile_key(self._place, model, self._listing, software, context, under)
        profile = None if self._anew else remembered(key, on_disk=config.remember)
        self._anew = False
        if profile is None:
            start = replace(assumed_profile(config), model=model, software=software.name, context=context)
            profile = await self._probe(session, start)
            remember(key, profile, on_disk=config.remember)
        if profile.probed and not profile.guided and config.structured != "none":
            self._options.notice("grammar", "takes no grammar; replies are not guided")
        return profile

    async def _probe(self, session: ChatSession, start: ServerProfile) -> ServerProfile:
        """`start`, with what questions to the server show that it honours."""
        self._options.profile = start
        if self.config.check_sight:
            await self._check_sight(session)
        if self.config.probe:
            self._options.profile = await probed(session.short, self.profile)
            for line in self.profile.lines():
                log.info("server %r: %s", self.config.name, line)
        return self.profile

    async def _check_sight(self, session: ChatSession) -> None:
        """BackendError (`no_sight`) unless the model sees pictures; else note how many, and in which grid."""

        async def prompt_tokens(messages: Sequence[Message]) -> int:
            wire = await asyncio.to_thread(wire_messages, messages, self.config.max_pixels, self._grid)
            answer = await session.answered(wire, Sampling(max_tokens=SHORT))
            return token_count(answer.get("usage"), "prompt_tokens")

        try:
            sight = await sight_of(prompt_tokens)
        except ValueError:
            self._options.notice("sight", "counts no tokens, so it cannot show that it sees pictures")
            return
        if sight.blind:
            self._acquaintance = BackendError(
                f"{session.calls.who} does not see pictures: {sight.blind}; serve a vision-language model (llama.cpp needs "
                "its --mmproj too), or set check_sight = false in the config file.",
                reason="no_sight",
            )
            raise self._acquaintance
        self._options.profile = replace(self.profile, pictures=sight.pictures, grid=sight.grid)

    def _grid_of(self, entry: Mapping[str, Any]) -> PictureGrid | None:
        """The checkpoint's own grid where its folder or its tower can be read."""
        if self._stated_grid is not None:
            return self._stated_grid
        if self.config.processor:
            return grid_of_processor(Path(self.config.processor))
        root = entry.get("root")
        return grid_of_folder(Path(root)) if isinstance(root, str) and root else None

    async def _check_model(self) -> None:
        """After an outage: BackendError (`model_changed`) if another model came back; scores of two judges never mix."""
        session = self._session
        if session is None or self._acquaintance is not session:
            return
        entry = await session.listed()
        if entry and model_digest(entry) != self._listing:
            self._acquaintance = BackendError(
                f"{session.calls.who} came back with another model than this run began with; start the run again to be "
                "judged by it.",
                reason="model_changed",
            )
            raise self._acquaintance
