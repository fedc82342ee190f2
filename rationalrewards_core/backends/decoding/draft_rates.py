"""How often drafted tokens were right, by where they came from: what a draft claims of itself is checked as it goes."""

from __future__ import annotations

from typing import Final

Kind = tuple[int, ...]
"""Where a drafted token came from, and how sure its source was of it."""

PRIOR_WEIGHT: Final = 6.0
"""The source's own claim counts as so many tokens that were seen."""


class DraftRates:
    """Shares of drafted tokens that were right, per kind; a few hundred kinds at most."""

    def __init__(self) -> None:
        self._right: dict[Kind, float] = {}
        self._total: dict[Kind, float] = {}

    def rate(self, kind: Kind, claim: float) -> float:
        """The chance in [0, 1] that a token of this kind is right; its source claims `claim`."""
        return (self._right.get(kind, 0.0) + PRIOR_WEIGHT * claim) / (self._total.get(kind, 0.0) + PRIOR_WEIGHT)

    def learn(self, kind: Kind, right: bool) -> None:
        self._right[kind] = self._right.get(kind, 0.0) + right
        self._total[kind] = self._total.get(kind, 0.0) + 1.0
