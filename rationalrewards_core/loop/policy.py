"""The rules of one loop and their defaults: `refine` follows them, nodes and the command line show them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..errors import ConfigError

SeedPolicy = Literal["fixed", "increment", "random"]
RefineFrom = Literal["best", "latest"]


@dataclass(frozen=True, kw_only=True)
class RefinePolicy:
    """The rules of one loop."""

    threshold: float = 0.85
    """Reward at which the loop is content, 0..1; no dimension may fail either."""
    minimum_score: float = 3.0
    """Score below which a dimension fails and may change the request (the paper's rule)."""
    minimum_scores: Mapping[str, float] = field(default_factory=dict)
    """Per-dimension exceptions to `minimum_score`, by key."""
    minimum_gain: float = 0.0
    """A later candidate replaces the best only if its reward is higher by more than this."""
    patience: int = 3
    """Candidates in a row that may fail to improve before the loop gives up."""
    max_iterations: int = 4
    """Budget: candidates in all, the first included."""
    first: int = 1
    """Candidates drawn from the original request before refining starts (2 and more mix in best-of-n)."""
    seeds: SeedPolicy = "increment"
    """`fixed`: always the base seed; `increment`: base, base + 1, ...; `random`: drawn from the base, repeatably."""
    refine_from: RefineFrom = "best"
    """Whose critique the next request comes from: the best candidate's, or the latest one's."""
    refine_negative: bool = False
    """Whether what stands behind `Negative prompt:` in a request is a text of its own: the judge is not told of it, and
    what a critique says should not be there is added to it."""

    def __post_init__(self) -> None:
        for name in ("threshold", "minimum_gain"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} must be between 0 and 1, not {getattr(self, name)}.")
        for name, score in (("minimum_score", self.minimum_score), *self.minimum_scores.items()):
            if not -math.inf < score < math.inf:  # nothing lies below NaN, so that no dimension would ever fail
                raise ConfigError(f"{name} must be a score of the rubric, not {score}.")
        for name in ("patience", "max_iterations", "first"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.first > self.max_iterations:
            raise ConfigError(f"first ({self.first}) must not exceed max_iterations ({self.max_iterations}).")
        if self.seeds not in ("fixed", "increment", "random"):
            raise ConfigError(f"seeds must be 'fixed', 'increment' or 'random', not {self.seeds!r}.")
        if self.refine_from not in ("best", "latest"):
            raise ConfigError(f"refine_from must be 'best' or 'latest', not {self.refine_from!r}.")
