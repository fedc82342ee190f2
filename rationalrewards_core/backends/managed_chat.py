"""A model server that this program starts itself, asked as any other.

Only the first reply starts it: what the memo knows needs no server. When it dies under a question it is started again and
asked once more.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from ..errors import BackendError
from ..managed.managed_server import ManagedServer, managed_server
from ..managed.server_run import ServerRun
from ..messages import Message
from ..picture_grid import PictureGrid
from ..servers import ServerConfig
from .base import Reply, Sampling
from .openai_chat import OpenAIChat
from .server_profile import ServerProfile

ATTEMPTS: Final = 2
"""How often one question is asked of a server that dies under it."""
DYING_SECONDS: Final = 3.0
WEIGHTS: Final = ("*.safetensors", "*.gguf", "*.json", "*.toml")


class ManagedChat:
    """One server of the config file with a command, or a GGUF judge."""

    def __init__(self, config: ServerConfig, grid: PictureGrid | None = None) -> None:
        """`grid` says how pictures are scaled, where it is known before the server is asked."""
        self.config = config
        self._grid = grid
        self.server: ManagedServer = managed_server(config)
        self._run: ServerRun | None = None
        self._chat: OpenAIChat | None = None
        self._profile: ServerProfile | None = None
        self._anew = False

    @property
    def identity(self) -> str:
        """What is asked for, the command, and the state of the files that it names; no address, which changes."""
        plain = replace(self.config, url="http://127.0.0.1/v1", command=(), environment={})
        identity = OpenAIChat(plain, grid=self._grid).identity
        started = [*self.config.command, *map("=".join, sorted(self.config.environment.items()))]
        files = [stamp for word in self.config.command for stamp in file_stamps(word)]
        return f"managed:{identity}:{hashlib.sha256(chr(0).join([*started, *files]).encode()).hexdigest()[:16]}"

    @property
    def profile(self) -> ServerProfile | None:
        """What the server honours, as it was last seen; None before it was asked anything."""
        return self._chat.profile if self._chat is not None else self._profile

    @property
    def grid(self) -> PictureGrid | None:
        """How pictures are scaled before they are sent."""
        return self._chat.grid if self._chat is not None else self._grid

    @property
    def concurrency(self) -> int:
        return self.config.concurrency

    def forget(self) -> None:
        """Find out anew what the server honours when it is next asked, whatever is remembered of it."""
        self._anew = True

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        attempt = 1
        while True:
            with self.server.in_use():
                outcome = await self._asked(await self.server.ready(), messages, sampling)
            if isinstance(outcome, Reply):
                return outcome
            if outcome.reason != "crashed" or attempt == ATTEMPTS:
                raise outcome
            attempt += 1

    async def disconnect(self) -> None:
        """Close connections, which cannot outlive their event loop; the server goes on."""
        chat, self._chat, self._run = self._chat, None, None
        if chat is not None:
            self._profile = chat.profile
            await chat.close()

    async def close(self) -> None:
        await self.disconnect()
        await asyncio.to_thread(self.server.stop, unless_used=True)

    async def _asked(self, run: ServerRun, messages: Sequence[Message], sampling: Sampling) -> Reply | BackendError:
        """The reply, or why the server is gone. Raises what it answers with while it is there."""
        reply = asyncio.ensure_future(self._reply(run, messages, sampling))
        end = asyncio.ensure_future(self.server.ended(run))
        try:
            await asyncio.wait({reply, end}, return_when=asyncio.FIRST_COMPLETED)
            if not reply.done():
                return end.result()
            failure = reply.exception()
            if isinstance(failure, BackendError) and failure.reason == "connection":
                # The connection breaks a moment before the process is gone.
                await asyncio.wait({end}, timeout=DYING_SECONDS)
            return end.result() if failure is not None and end.done() else reply.result()
        finally:
            for task in (reply, end):
                task.cancel()
            await asyncio.gather(reply, end, return_exceptions=True)

    async def _reply(self, run: ServerRun, messages: Sequence[Message], sampling: Sampling) -> Reply:
        if self._run is not run or self._chat is None:
            old, self._chat, self._run = self._chat, self._client(run), run
            if old is not None:
                await old.close()
        chat = self._chat
        if self._anew:
            self._anew = False
            chat.forget()
        await chat.introduce()
        return await chat.reply(messages, sampling)

    def _client(self, run: ServerRun) -> OpenAIChat:
        # What it honours is remembered under its name and command: its address is another one at every start.
        place = f"managed:{self.config.name}:{chr(0).join(self.config.command)}"
        return OpenAIChat(run.config, grid=self._grid, place=place)


def file_stamps(word: str) -> list[str]:
    """What changes whenever the weights that a word of a command names are written again; nothing if it names none."""
    path = Path(word.partition("=")[2] or word) if word.startswith("-") else Path(word)
    try:
        if path.is_dir():
            files = sorted(file for pattern in WEIGHTS for file in path.glob(pattern))
        else:
            files = [path] if path.is_file() else []
        return [f"{file.name}.{file.stat().st_mtime_ns:x}.{file.stat().st_size:x}" for file in files]
    except OSError:
        return []
