"""How many drafted tokens a pass should verify: as many as pay for themselves, by what passes have cost here.

A pass over few tokens costs what reading the weights costs; past some width arithmetic counts, and bitsandbytes' fused
4-bit kernel ends at 8 tokens on some cards. So the cost is measured, never assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

WIDTHS: Final = (1, 2, 4, 8, 16)
"""Tokens per row of a pass, the last accepted one included: few shapes, so that a pass can be recorded once."""
KEEP: Final = 0.8
"""Share of the old estimate in the new one."""


class PassCost:
    """Seconds of a pass by number of rows and width, learnt from the passes themselves."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[int, int], float] = {}

    def observe(self, rows: int, width: int, seconds: float) -> None:
        """What a pass took. A single slow one, of a busy machine, moves little; a faster one is believed at once."""
        old = self._seconds.get((rows, width), seconds)
        self._seconds[rows, width] = min(seconds, KEEP * old + (1 - KEEP) * seconds)

    def relative(self, rows: int, width: int) -> float:
        """Cost of a pass against the narrowest one that was measured with as many rows; 1.0 where nothing is known."""
        measured = {w: s for (r, w), s in self._seconds.items() if r == rows}
        if not measured:
            return 1.0
        base = measured[min(measured)]
        nearest = max((w for w in measured if w <= width), default=min(measured))
        return max(1.0, measured[nearest] / base)

    def best_width(self, chances: Sequence[Sequence[float]]) -> int:
        """The width with the most expected tokens per second.

        `chances[row][i]` is the chance that the row's draft is right up to its token i.
        """
        longest = max((len(row) for row in chances), default=0)
        widths = [width for width in WIDTHS if width <= longest + 1]
        if widths[-1] < longest + 1 and widths[-1] != WIDTHS[-1]:
            widths.append(WIDTHS[len(widths)])
        return max(widths, key=lambda width: self._gain(chances, width))

    def _gain(self, chances: Sequence[Sequence[float]], width: int) -> float:
        expected = sum(1.0 + sum(row[: width - 1]) for row in chances)
        return expected / self.relative(len(chances), width)
