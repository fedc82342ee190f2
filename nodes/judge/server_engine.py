"""A model behind a server that somebody else runs; its memory is its own, and other nodes may run while it judges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from ...rationalrewards_core.backends.base import Reply, Sampling
from ...rationalrewards_core.backends.openai_chat import OpenAIChat
from ...rationalrewards_core.messages import Message
from ...rationalrewards_core.rubric import Kind, Rubric
from ...rationalrewards_core.scorer import Scope
from .interruptible import Work, finish_beside
from .progress import NodeProgress
from .served import Served

T = TypeVar("T")

FULL_REPLY = 2048
"""Tokens of the longest critique of an 8B judge."""


class ServerEngine(Served[OpenAIChat]):
    """A model behind a named server."""

    def __init__(self, name: str, backend: OpenAIChat, rubrics: dict[Kind, Rubric]) -> None:
        self.name, self.rubrics = name, rubrics
        self.max_tokens = FULL_REPLY
        self.scope: Scope | None = None
        self._backend = backend
        self._runs = 0

    async def introduce(self) -> None:
        await self._backend.introduce()

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        return await self._backend.reply(messages, sampling)

    async def close(self) -> None:
        await self._backend.close()

    async def run(self, work: Work[T], progress: NodeProgress) -> T:
        self._runs += 1
        try:
            return await finish_beside(work, progress.show)
        finally:
            self._runs -= 1
            # ComfyUI runs every prompt in an event loop of its own, and a connection cannot outlive its loop; but
            # another node of this prompt may be waiting for the same server.
            if self._runs == 0:
                await self._backend.close()

    def make_room(self) -> bool:
        return False  # the server's memory is its own

    def release(self) -> None:
        """Connections are closed after every run."""
