"""A server that is started for a node, as an occupant of ComfyUI's memory: a sampler that needs the room ends it.

It is waited for as a local model is: while it judges, ComfyUI must not start a sampler that would take its memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from ...rationalrewards_core.backends.base import Reply, Sampling
from ...rationalrewards_core.backends.managed_chat import ManagedChat
from ...rationalrewards_core.managed.managed_server import ManagedServer
from ...rationalrewards_core.messages import Message
from ...rationalrewards_core.rubric import Kind, Rubric
from ...rationalrewards_core.scorer import Scope
from ..models.memory import comfy_device, evict, evict_others, make_room
from .interruptible import Work, finish_here
from .progress import NodeProgress
from .served import Served

if TYPE_CHECKING:
    from ..models.patcher import OccupantPatcher

T = TypeVar("T")


class ServerOccupant:
    """The server's process in ComfyUI's books (see `patcher.Occupant`)."""

    title = "RationalServer"

    def __init__(self, server: ManagedServer) -> None:
        self.server = server
        self._patcher: OccupantPatcher | None = None

    @property
    def present(self) -> bool:
        return self.server.alive

    @property
    def size(self) -> int:
        return int(self.server.config.memory_gb * 2**30)

    def enter(self) -> None:
        self.server.start()

    def leave(self) -> None:
        self.server.stop()

    def bring(self) -> None:
        """Make room and start it, if it is not running; be known to ComfyUI's model management."""
        import comfy.model_management as management

        patcher = self.patched()
        if not self.present:
            if self.size:
                make_room(self.size, patcher.load_device)
            else:
                evict_others(patcher)  # what it takes is not known
            self.enter()
        management.load_models_gpu([patcher])

    def patched(self) -> OccupantPatcher:
        if self._patcher is None:
            import torch

            from ..models.patcher import OccupantPatcher

            self._patcher = OccupantPatcher(self, torch.device(comfy_device()), torch.device("cpu"))
        return self._patcher

    def release(self) -> None:
        if self._patcher is not None:
            evict(self._patcher)
        self.leave()


class ManagedEngine(Served[ManagedChat]):
    """A judge behind a server that this process starts: one of the config file with a command, or a GGUF file."""

    def __init__(
        self, name: str, backend: ManagedChat, rubrics: dict[Kind, Rubric], max_tokens: int, *, on_card: bool = True
    ) -> None:
        """`on_card` is False for one that leaves the graphics card alone, and so is no concern of ComfyUI's."""
        self.name, self.rubrics, self.max_tokens = name, rubrics, max_tokens
        self.scope: Scope | None = None
        self._backend = backend
        self._occupant = ServerOccupant(backend.server)
        self._on_card = on_card
        self._is_ready = False
        self._under_way: tuple[asyncio.AbstractEventLoop, asyncio.Task[object]] | None = None

    @property
    def present(self) -> bool:
        """Whether its process is there now."""
        return self._occupant.present

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        if self._on_card and not self._is_ready:  # before the first reply: what the memo knows needs no server
            self._occupant.bring()
            self._is_ready = True
        return await self._backend.reply(messages, sampling)

    async def close(self) -> None:
        await self._backend.disconnect()
        self.release()

    async def run(self, work: Work[T], progress: NodeProgress) -> T:
        self._is_ready = False

        async def interruptible() -> T:
            task = asyncio.current_task()
            assert task is not None
            self._under_way = asyncio.get_running_loop(), task
            try:
                return await work()
            finally:
                self._under_way = None
                await self._backend.disconnect()  # connections cannot outlive their event loop

        return finish_here(interruptible, progress.show, self._interrupt)

    def make_room(self) -> bool:
        return False  # llama.cpp and others settle by themselves what fits on the card

    def release(self) -> None:
        self._occupant.release()

    def _interrupt(self) -> None:
        under_way = self._under_way
        if under_way is not None:
            under_way[0].call_soon_threadsafe(under_way[1].cancel)
