"""Minimums and weights per dimension as a user types them, and the gate they make.

    text_faithfulness = 3.5, text_rendering = 3

Pairs are separated by commas, semicolons or lines; a dimension goes by its key or by its title.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ...rationalrewards_core.critique import Critique
from ...rationalrewards_core.errors import ConfigError
from ...rationalrewards_core.reward import failing, reward
from ...rationalrewards_core.rubric import Rubric

MAX_CHARACTERS = 10_000


@dataclass(frozen=True, kw_only=True)
class Gate:
    """When a critique is good enough."""

    threshold: float
    """Reward that has to be reached, 0..1."""
    minimums: Mapping[str, float] = field(default_factory=dict)
    """Score that a dimension has to reach, by key. A dimension without one, or judged N/A, fails nothing."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold <= 1.0:
            raise ConfigError(f"The threshold is a reward between 0 and 1, not {self.threshold:g}.")

    def passes(self, critique: Critique, rubric: Rubric) -> bool:
        enough = reward(critique, rubric) >= self.threshold
        return enough and not failing(critique, self.minimums, rubric.scale.minimum)


def parse_minimums(text: str, rubric: Rubric) -> dict[str, float]:
    """Scores on the rubric's scale by dimension key; ConfigError, in one sentence, for anything else."""
    minimums = _pairs(text, rubric, "minimums")
    scale = rubric.scale
    for key, value in minimums.items():
        if not scale.contains(value):
            raise ConfigError(
                f"minimums: {key} must be a score from {scale.minimum:g} to {scale.maximum:g}, not {value:g}."
            )
    return minimums


def parse_weights(text: str, rubric: Rubric) -> dict[str, float]:
    """Weights by dimension key, each 0 to 1000; ConfigError, in one sentence, for anything else."""
    weights = _pairs(text, rubric, "weights")
    rubric.with_weights(weights)  # refuses what no rubric can have: a negative weight, only zeros
    return weights


def _pairs(text: str, rubric: Rubric, what: str) -> dict[str, float]:
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(f"{what} has {len(text)} characters; write pairs such as {_example(rubric)}.")
    keys = {_folded(name): d.key for d in rubric.dimensions for name in (d.key, d.title)}
    pairs: dict[str, float] = {}
    for part in filter(None, (piece.strip() for piece in re.split(r"[,;\n]", text))):
        pair = re.split("[=:]", part, maxsplit=1)
        if len(pair) < 2:
            raise ConfigError(f"{what}: {part[:60]!r} is not a pair such as {_example(rubric)}.")
        name, number = (piece.strip() for piece in pair)
        key = keys.get(_folded(name))
        if key is None:
            raise ConfigError(f"{what}: there is no dimension {name[:60]!r}; {_known(rubric)}.")
        if key in pairs:
            raise ConfigError(f"{what}: {key} is given twice; keep one.")
        pairs[key] = _number(number, key, what)
    return pairs


def _number(text: str, key: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{what}: {key} needs a number such as 3.5, not {text[:60]!r}.")
    return value


def _folded(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.strip()).casefold()


def _example(rubric: Rubric) -> str:
    return f"{rubric.dimensions[0].key}=3"


def _known(rubric: Rubric) -> str:
    return "this rubric has " + ", ".join(d.key for d in rubric.dimensions)
