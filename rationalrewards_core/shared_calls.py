"""One call for callers that ask for the same thing at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Place = tuple[asyncio.AbstractEventLoop, str]
"""Where a call is under way: nobody could wait for it in another event loop."""


class SharedCalls(Generic[T]):
    """Calls under way, by key.

    Every caller gets the call's value or error. One that is cancelled leaves the others waiting; the last one to leave
    cancels the call and sees it end.
    """

    def __init__(self) -> None:
        self._calls: dict[Place, _Call[T]] = {}

    async def join(self, key: str, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Wait for the call of that key, made by `make` if none is under way."""
        place = (asyncio.get_running_loop(), key)
        if place not in self._calls:
            self._calls[place] = _Call(asyncio.ensure_future(make()))
        return await self._wait(place)

    async def join_if_any(self, key: str) -> T | None:
        """Wait for the call of that key; None at once if none is under way."""
        place = (asyncio.get_running_loop(), key)
        return await self._wait(place) if place in self._calls else None

    async def _wait(self, place: Place) -> T:
        call = self._calls[place]
        call.waiting += 1
        try:
            return await asyncio.shield(call.task)
        finally:
            call.waiting -= 1
            if call.waiting == 0:
                del self._calls[place]
                call.task.cancel()  # without effect on a call that has ended
                await asyncio.gather(call.task, return_exceptions=True)


class _Call(Generic[T]):
    def __init__(self, task: asyncio.Future[T]) -> None:
        self.task = task
        self.waiting = 0
