"""A backend around another one, for who counts, remembers or changes what passes through."""

from __future__ import annotations

from collections.abc import Sequence

from ..messages import Message
from .base import Backend, Reply, Sampling, introduce


class BackendWrapper:
    """Asks the backend inside it; a class of its own changes what it wants changed."""

    def __init__(self, backend: Backend) -> None:
        self.inside = backend

    @property
    def identity(self) -> str:
        return self.inside.identity

    @property
    def concurrency(self) -> int:
        return self.inside.concurrency

    async def introduce(self) -> None:
        await introduce(self.inside)

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        return await self.inside.reply(messages, sampling)

    async def close(self) -> None:
        await self.inside.close()
