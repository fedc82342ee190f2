"""How long the rest of a run takes, for logs that no progress bar is drawn in."""

from __future__ import annotations

import time


class Pace:
    """Measures from its making on; what was done before by another process says nothing."""

    def __init__(self, done: int, total: int) -> None:
        self._first, self._total, self._started = done, total, time.monotonic()
        self._every = max(1, total // 20)

    def due(self, done: int) -> bool:
        """Whether it is time to say it again: after the first step, and twenty times a run."""
        return done == self._first + 1 or done % self._every == 0

    def left(self, done: int) -> str:
        """What is left after `done` steps of all, such as `about 12 min`."""
        each = (time.monotonic() - self._started) / max(1, done - self._first)
        return f"about {duration(each * (self._total - done))}"


def duration(seconds: float) -> str:
    """`45 s`, `12 min` or `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
