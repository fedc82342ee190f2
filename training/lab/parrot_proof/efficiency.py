"""How far a student's preferences go: how many a scalar head needs to judge as well, and where the curves cross."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ...rewards.figures import accuracy, resampled_accuracies
from ...rewards.opinions import Opinion
from ...rewards.ties import TieProtocol


def pairs_needed(target: float, sizes: Sequence[int], accuracies: Sequence[float]) -> float:
    """Pairs at which the line through the accuracies, over the logarithm of `sizes`, first reaches `target`.

    The smallest size where it is reached there already, infinity where it is not reached.
    """
    if accuracies[0] >= target:
        return float(sizes[0])
    for (small, low), (large, high) in pairwise(zip(sizes, accuracies, strict=True)):
        if high >= target:
            return float(small * (large / small) ** ((target - low) / (high - low)))
    return math.inf


def crossing(sizes: Sequence[int], gaps: Sequence[float]) -> float:
    """Pairs at which a gap between two curves first changes its sign; NaN where it never does."""
    for i in range(len(sizes) - 1):
        if gaps[i] * gaps[i + 1] < 0:
            share = gaps[i] / (gaps[i] - gaps[i + 1])
            return float(sizes[i] * (sizes[i + 1] / sizes[i]) ** share)
    return math.nan


def efficiency(
    students: Sequence[Sequence[Opinion]],
    heads: Sequence[Sequence[Opinion]],
    sizes: Sequence[int],
    rule: TieProtocol,
) -> dict[str, Any]:
    """Size -> pairs that a head needs for a student's accuracy over the student's own; and where the curves cross.

    `students` and `heads` are opinions of the same pairs, `[sizes][pairs]`. Intervals are 95 % over requests. A head
    that gets there with fewer than the smallest size, or not with the largest, counts as being there at that size:
    `beyond` is the share of draws of the second kind, in which the ratio is a lower bound.
    """
    rows = [[accuracy(one, rule).value, *resampled_accuracies(one, rule)] for one in (*students, *heads)]
    table = np.array(rows)
    mine, other = table[: len(sizes)], table[len(sizes) :]
    figures: dict[str, Any] = {}
    for i, size in enumerate(sizes):
        needed = np.array([pairs_needed(mine[i, k], sizes, other[:, k]) for k in range(mine.shape[1])])
        ratios = np.minimum(needed, sizes[-1]) / size
        figures[str(size)] = {**_interval(ratios), "beyond": round(float(np.mean(np.isinf(needed[1:]))), 3)}
    crossings = np.array([crossing(sizes, mine[:, k] - other[:, k]) for k in range(mine.shape[1])])
    figures["crossing"] = {
        **_interval(crossings),
        "draws_that_cross": round(float(np.mean(~np.isnan(crossings[1:]))), 3),
    }
    return figures


def _interval(values: np.ndarray) -> dict[str, float | None]:
    """The first value and the 95 % interval of the others; None for what there is not."""
    draws = values[1:][~np.isnan(values[1:])]
    low, high = np.quantile(draws, (0.025, 0.975)) if len(draws) else (math.nan, math.nan)
    numbers = {"value": values[0], "low": low, "high": high}
    return {name: None if math.isnan(number) else round(float(number), 3) for name, number in numbers.items()}
