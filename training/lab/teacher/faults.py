"""The teacher's faults: stated shares, drawn by the content of the question, so that asking again repeats them."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, fields
from typing import Literal

from rationalrewards_core.errors import ConfigError

RationaleFault = Literal["sound", "hallucinated", "vague", "parrot", "contradicts"]
CritiqueFault = Literal["sound", "hallucinated", "mentions", "drift"]


@dataclass(frozen=True, kw_only=True)
class FaultShares:
    """How often the teacher errs, and how. All are shares of questions, 0 to 1."""

    hallucinated: float = 0.2
    """Rationales about one image that is not as they say; scores and winner obey the label all the same."""
    vague: float = 0.08
    """Rationales that say nothing about either image."""
    parrot: float = 0.08
    """Rationales that state the label as their evidence."""
    contradicts: float = 0.03
    """Rationales whose winner is not the one they were told."""
    misread: float = 0.02
    """Predictions that do not follow from the notes."""
    mentions: float = 0.05
    """Critiques that speak of the notes they were given."""
    drift: float = 0.05
    """Critiques whose scores have come loose from their words."""
    unanchored: float = 0.35
    """Critiques without notes that are about an image that is not as they say."""
    truncated: float = 0.0
    """Replies cut off, with the finish reason `length`."""
    nonsense: float = 0.0
    """Replies of loose words."""
    foreign: float = 0.0
    """Replies in the right format and in German."""
    broken: float = 0.0
    """Requests answered with a 503 the first time; the second time they are answered."""

    def __post_init__(self) -> None:
        for one in fields(self):
            if not 0.0 <= getattr(self, one.name) <= 1.0:
                raise ConfigError(f"The share {one.name} must be from 0 to 1, not {getattr(self, one.name)}.")
        if self.hallucinated + self.vague + self.parrot + self.contradicts > 1.0:
            raise ConfigError("The shares of faulty rationales are more than 1 together.")


NO_FAULTS = FaultShares(
    hallucinated=0, vague=0, parrot=0, contradicts=0, misread=0, mentions=0, drift=0, unanchored=0
)  # fmt: skip


def dice(seed: int, *content: str) -> random.Random:
    """Random numbers that depend on the question and nothing else."""
    state = hashlib.sha256("\x1f".join([str(seed), *content]).encode("utf-8", "replace")).digest()
    return random.Random(state)


def rationale_fault(shares: FaultShares, rng: random.Random) -> RationaleFault:
    place = rng.random()
    for name in ("hallucinated", "vague", "parrot", "contradicts"):
        place -= getattr(shares, name)
        if place < 0:
            return name
    return "sound"


def critique_fault(shares: FaultShares, rng: random.Random, *, hinted: bool) -> CritiqueFault:
    place = rng.random()
    if not hinted:
        return "hallucinated" if place < shares.unanchored else "sound"
    if place < shares.mentions:
        return "mentions"
    return "drift" if place < shares.mentions + shares.drift else "sound"
