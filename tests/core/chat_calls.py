"""Calls to a chat server of tests."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rationalrewards_core.backends.base import Reply, Sampling
from rationalrewards_core.backends.openai_chat import OpenAIChat
from rationalrewards_core.errors import BackendError
from rationalrewards_core.messages import Message
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.servers import ServerConfig

QUESTION = (Message("user", ("What is this?",)),)


class Waits(list[float]):
    """Takes note of the waits between attempts instead of waiting."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


async def once(config: ServerConfig, sampling: Sampling | None = None, waits: Waits | None = None) -> Reply:
    """Ask one question and close."""
    backend = OpenAIChat(config, sleep=Waits() if waits is None else waits)
    try:
        return await backend.reply(QUESTION, sampling or Sampling())
    finally:
        await backend.close()


def failure(config: ServerConfig, waits: Waits | None = None) -> BackendError:
    with pytest.raises(BackendError) as caught:
        asyncio.run(once(config, waits=waits))
    return caught.value


async def closing(scorer: Scorer, work: Any) -> Any:
    try:
        return await work
    finally:
        await scorer.close()
