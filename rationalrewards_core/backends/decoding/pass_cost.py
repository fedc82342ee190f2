"""How many drafted tokens a pass should verify: as many as pay for themselves, by what passes have cost here.

A pass over few tokens costs what reading the weights costs; past some width arithmetic counts, and bitsandbytes' fused
4-bit kernel ends at 8 tokens on some cards. So the cost is measured, never assumed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

WIDTHS: Final = (1, 2, 4, 8, 16, 32, 64)
"""Tokens per row of a pass, the last accepted one included: few shapes, so that a pass can be recorded once."""
KEEP: Final = 0.8
"""Share of the old estimate in the new one."""
FADE: Final = 0.98
"""Share of what a width costs beyond a single token that is still believed one pass later.

A first pass that was slow only because the machine was busy would otherwise never be taken again: after 50 passes a third
of it is left. A width that is costly indeed is tried again now and then, for one to four hundredths of the time.
"""
REACH: Final = 2
"""Drafts are made for passes up to so many times as wide as the last."""
FIXED_SHARE: Final = 0.5
"""What a pass is expected to cost at least, against a wider one, before it was tried."""


class PassCost:
    """Seconds of a pass by number of rows and width, learnt from the passes themselves."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[int, int], float] = {}
        self._passes: Counter[int] = Counter()
        self._latest: dict[tuple[int, int], int] = {}
        """The number of the last pass of a width, among those of as many rows."""
        self._last = WIDTHS[-1]

    def observe(self, rows: int, width: int, seconds: float) -> None:
        """What a pass took. A single slow one, of a busy machine, moves little; a faster one is believed at once."""
        self._passes[rows] += 1
        self._latest[rows, width] = self._passes[rows]
        old = self._seconds.get((rows, width), seconds)
        self._seconds[rows, width] = min(seconds, KEEP * old + (1 - KEEP) * seconds)

    def relative(self, rows: int, width: int) -> float:
        """Cost of a pass against one of a single token per row; 1.0 while nothing is measured."""
        if not self._seconds:
            return 1.0
        beyond = max(0.0, self._expected(rows, width) / self._single(rows) - 1.0)
        passes = self._passes[rows]
        return 1.0 + beyond * FADE ** (passes - self._latest.get((rows, width), passes))

    def _single(self, rows: int) -> float:
        """Seconds of a pass of one token per row, which takes no longer than any wider one did."""
        wider = [self._seconds[rows, width] for width in WIDTHS if (rows, width) in self._seconds]
        return min([self._expected(rows, 1), *wider])

    def _expected(self, rows: int, width: int) -> float:
        """Seconds as measured, else by passes that came near in their number of tokens, and rather too few.

        So a width that may pay is tried, and measured.
        """
        if (rows, width) in self._seconds:
            return self._seconds[rows, width]
        tokens = rows * width
        points = sorted((r * w, seconds) for (r, w), seconds in self._seconds.items())
        narrower, wider = [p for p in points if p[0] <= tokens], [p for p in points if p[0] > tokens]
        if not narrower:
            count, seconds = wider[0]
            return seconds * (FIXED_SHARE + (1.0 - FIXED_SHARE) * tokens / count)
        count, seconds = narrower[-1]
        beside = wider[:1] or [p for p in narrower if p[0] < count][-1:]
        slope = (seconds - beside[0][1]) / (count - beside[0][0]) if beside else 0.0
        return seconds + max(0.0, slope) * (tokens - count)

    @property
    def reach(self) -> int:
        """The widest pass worth drafting for: what lies far beyond the last one's width would be thrown away."""
        return min(WIDTHS[-1], REACH * self._last)

    def best_width(self, chances: Sequence[Sequence[float]]) -> int:
        """The width with the most expected tokens per second.

        `chances[row][i]` is the chance that the row's draft is right up to its token i.
        """
        longest = max((len(row) for row in chances), default=0)
        widths = [width for width in WIDTHS if width <= longest + 1]
        if widths[-1] < longest + 1 and widths[-1] != WIDTHS[-1]:
            widths.append(WIDTHS[len(widths)])
        accepted = [[*accumulate(row, initial=1.0)] for row in chances]

        def gain(width: int) -> float:
            """Expected tokens of a pass over its cost."""
            expected = sum(row[min(width, len(row)) - 1] for row in accepted)
            return expected / self.relative(len(chances), width)

        self._last = max(widths, key=gain)
        return self._last
