"""Where values lie in an SVG: curves over levels, for the report of loops and the page of a training run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A rectangle of an SVG and the range of values that it shows. A range without extent is drawn as if it were 1 wide."""

    left: float
    right: float
    top: float
    bottom: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        low, high = self.x_range
        return self.left + (self.right - self.left) * ((value - low) / ((high - low) or 1.0))

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.top + (self.bottom - self.top) * (1 - (value - low) / ((high - low) or 1.0))

    def levels(self, count: int, form: str) -> list[str]:
        """`count` horizontal lines from the lowest value to the highest, each with its value in front of it."""
        low, high = self.y_range
        parts = []
        for k in range(count):
            value = low + (high - low) * k / (count - 1)
            y = self.y(value)
            parts.append(
                f'<line x1="{self.left}" x2="{self.right}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>'
                f'<text x="{self.left - 8}" y="{y + 4:.1f}" text-anchor="end">{value:{form}}</text>'
            )
        return parts

    def curve(self, points: Iterable[tuple[float, float]], stroke: str) -> str:
        """A line through (x, y) values; `stroke` is the attributes it is drawn with."""
        places = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        return f'<polyline points="{places}" fill="none" {stroke}/>'
