"""Room on the server, over all calls: places in the queue, bytes of bodies, pixels of decoded images."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from aiohttp import web

from .config import ServeConfig
from .requests import body_size, refuse


class Room:
    """Calls that find none are refused with 429 and may come again."""

    def __init__(self, config: ServeConfig) -> None:
        self._config = config
        self.waiting = 0
        """Items queued or being judged."""
        self.held_bytes = 0
        """Bodies between their first byte and their answer."""

    def require_places(self, count: int) -> None:
        most = self._config.max_waiting
        if self.waiting + count > most:
            _refuse(f"{self.waiting} items are waiting and at most {most} may; try again later.")

    @contextmanager
    def places(self, count: int) -> Iterator[None]:
        """Places for some items among all that wait; always given back."""
        self.require_places(count)
        self.waiting += count
        try:
            yield
        finally:
            self.waiting -= count

    @contextmanager
    def body(self, request: web.Request) -> Iterator[None]:
        """Memory for a call's body, until the call is answered: what it holds is needed until then."""
        size, most = body_size(request, self._config.max_body_bytes), self._config.max_held_bytes
        if self.held_bytes + size > most:
            _refuse(f"Bodies of {self.held_bytes} bytes are held and at most {most} may be; try again later.")
        self.held_bytes += size
        try:
            yield
        finally:
            self.held_bytes -= size


def _refuse(message: str) -> None:
    refuse(web.HTTPTooManyRequests, "queue_full", message, {"Retry-After": "2"})


class Allowance:
    """So much of something at once. First come, first served, so that small shares do not starve a large one."""

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._turn = asyncio.Lock()
        self._returned = asyncio.Event()

    @asynccontextmanager
    async def hold(self, amount: int) -> AsyncIterator[None]:
        """Wait for `amount`, and give it back afterwards. More than the whole budget is the whole: it goes alone."""
        share = min(amount, self._total)
        async with self._turn:
            while self._free < share:
                self._returned.clear()
                await self._returned.wait()
            self._free -= share
        try:
            yield
        finally:
            self._free += share
            self._returned.set()
