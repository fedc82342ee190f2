"""A server that is gone, waited for by all its callers together.

A judge of 8B parameters that was killed needs a minute or two to come back. While callers each ask again on their own
they give up long before, and all at once when it is back; so one of them looks after it and the others wait for that one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Final

from ..shared_calls import SharedCalls

log = logging.getLogger("rationalrewards.backends.outage")

FIRST_PAUSE: Final = 0.5
"""Seconds between the first two looks."""
LONGEST_PAUSE: Final = 5.0


class Presence(Enum):
    """What a look at a server shows."""

    UP = "up"
    """It answers."""
    LOADING = "loading"
    """Something listens, and says that nobody can be served yet."""
    GONE = "gone"
    """Nobody listens."""


class Outage:
    """Whether one server is there, within one event loop."""

    def __init__(
        self,
        name: str,
        look: Callable[[], Awaitable[Presence]],
        limit: float,
        sleep: Callable[[float], Awaitable[None]],
        back: Callable[[], Awaitable[None]],
    ) -> None:
        """`limit` in seconds; `back` is awaited once after every outage, and what it raises is every waiting caller's."""
        self._name, self._look, self._limit, self._sleep, self._back = name, look, limit, sleep, back
        self._watch: SharedCalls[bool] = SharedCalls()
        self._met = False
        self._given_up = False

    def answered(self) -> None:
        """The server has answered a call: it is there, and worth waiting for from now on."""
        self._met, self._given_up = True, False

    @property
    def given_up(self) -> bool:
        """Whether it was gone for longer than the limit, and has not answered since."""
        return self._given_up

    async def wait(self) -> bool:
        """Look, and while the server is gone wait for it, together with every other caller.

        True if it was gone and is back; False if it is not gone at all, was never there, or stays away beyond the limit.
        """
        return await self._watch.join("", self._watched)

    async def _watched(self) -> bool:
        started, waited, pause = time.monotonic(), 0.0, FIRST_PAUSE
        presence = await self._look()
        if presence is Presence.UP or self._given_up or not self._limit:
            return False
        if presence is Presence.GONE and not self._met:
            return False
        log.warning("server %r is %s; waiting up to %g s for it", self._name, presence.value, self._limit)
        while presence is not Presence.UP:
            if max(waited, time.monotonic() - started) >= self._limit:
                self._given_up = True
                log.warning("server %r stayed away for %g s; it is waited for no longer", self._name, self._limit)
                return False
            await self._sleep(pause)
            waited, pause = waited + pause, min(LONGEST_PAUSE, 1.5 * pause)
            presence = await self._look()
        log.warning("server %r is back after %.0f s", self._name, max(waited, time.monotonic() - started))
        await self._back()
        return True
