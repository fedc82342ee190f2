"""Critique -> reward in [0, 1]: the weighted mean over applicable dimensions of the normalised scores.

With the default scale this is the mean of (score - 1) / 3 (arXiv 2604.11626, Eq. 13). N/A leaves
the mean and takes its weight along. Nothing else in the project turns scores into a reward.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from .critique import Critique
from .numerals import finite_number
from .rubric import Rubric


def reward(critique: Critique, rubric: Rubric, *, expected: bool = False) -> float:
    """Aggregate a critique. With `expected`, the probability-weighted scores are used where there are any.

    Raises ValueError if no applicable dimension carries weight (a `Rubric` makes sure one always does), or if a score
    is no number of the scale: it is never bent into the range.
    """
    check_scores(critique, rubric)
    total = weight = 0.0
    for dimension in rubric.dimensions:
        judgement = critique.judgement(dimension.key)
        score = judgement.score
        if score is None:
            continue
        if expected and judgement.expected is not None:
            score = judgement.expected
        total += dimension.weight * rubric.scale.normalise(score)
        weight += dimension.weight
    if weight <= 0:
        raise ValueError("no applicable dimension carries weight")
    return min(1.0, max(0.0, total / weight))


def check_scores(critique: Critique, rubric: Rubric) -> None:
    """ValueError unless every dimension has one judgement whose numbers are on the rubric's scale."""
    keys = [judgement.key for judgement in critique.judgements]
    if sorted(keys) != sorted(dimension.key for dimension in rubric.dimensions):
        raise ValueError(f"it judges {', '.join(map(str, keys)) or 'nothing'}, not the rubric's dimensions once each.")
    for dimension in rubric.dimensions:
        judgement = critique.judgement(dimension.key)
        if judgement.score is None and not dimension.optional:
            raise ValueError(f"{dimension.key} always applies but has no score.")
        low, high = rubric.scale.minimum, rubric.scale.maximum
        for number, slack in ((judgement.score, 0.0), (judgement.expected, 1e-6)):  # a mean is rounded
            if number is None:
                continue
            is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
            if not is_number or not low - slack <= number <= high + slack:
                raise ValueError(f"{dimension.key} has {number!r:.40}, which is no number from {low:g} to {high:g}.")
        spread = finite_number(judgement.spread)
        if judgement.spread is not None and (spread is None or spread < 0):
            raise ValueError(f"{dimension.key} has the spread {judgement.spread!r:.40}, which is no number from 0.")


def reward_spread(critique: Critique, rubric: Rubric) -> float | None:
    """Standard deviation of the reward by the spreads of its scores, dimensions taken as independent.

    In units of the reward. None where a dimension that counts has no spread.
    """
    variance = weight = 0.0
    for dimension in rubric.dimensions:
        judgement = critique.judgement(dimension.key)
        if judgement.score is None or dimension.weight == 0:
            continue
        if judgement.spread is None:
            return None
        steps = judgement.spread / (rubric.scale.maximum - rubric.scale.minimum)
        variance += (dimension.weight * steps) ** 2
        weight += dimension.weight
    return math.sqrt(variance) / weight if weight > 0 else None


def failing(critique: Critique, minimums: Mapping[str, float], default: float) -> tuple[str, ...]:
    """Keys of the dimensions that score below their minimum (`default` where none is given)."""
    return tuple(j.key for j in critique.judgements if j.score is not None and j.score < minimums.get(j.key, default))
