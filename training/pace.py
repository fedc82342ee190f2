"""How far long work is and how long the rest takes: a bar on a terminal, and lines in a log where no bar is drawn."""

from __future__ import annotations

import logging
import time
from types import TracebackType
from typing import Final

from tqdm import tqdm

log = logging.getLogger("rationalrewards.training")

SECONDS: Final = 60.0
"""Between two lines in the log; the first one comes with the first unit of work."""


class Pace:
    """Counts units of work from its making on; what another process did before (`initial`) says nothing of the pace.

    Silent in all but the main process.
    """

    def __init__(self, what: str, total: int, *, initial: int = 0, main: bool = True, leave: bool = True) -> None:
        self._what, self._total, self._first, self._count = what, total, initial, initial
        self._main = main
        self._bar = tqdm(total=total, initial=initial, desc=what, disable=None if main else True, leave=leave)
        self._started = time.monotonic()
        self._log_time: float | None = None

    def __enter__(self) -> Pace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def update(self, count: int = 1) -> None:
        """So many units more are done."""
        self._count += count
        self._bar.update(count)
        now = time.monotonic()
        if self._main and self._bar.disable and (self._log_time is None or now - self._log_time >= SECONDS):
            self._log_time = now
            left = (now - self._started) / max(1, self._count - self._first) * (self._total - self._count)
            log.info("%s: %d of %d, about %s left", self._what, self._count, self._total, duration(left))


def duration(seconds: float) -> str:
    """`45 s`, `12 min` or `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
