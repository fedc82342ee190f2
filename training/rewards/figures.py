"""Figures of a judge from its opinions: free functions, each with its counts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rationalrewards_core.comparison import Verdict

from .opinions import Opinion
from .ties import TieProtocol, credit

RESAMPLES = 2000
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share with a 95 % interval."""

    value: float
    """NaN if nothing was counted."""
    low: float
    high: float
    counted: int
    """Denominator."""
    failures: int = 0
    """Judgements without a verdict among the counted: they are in the denominator, as wrong."""
    left_out: int = 0
    """Pairs the protocol does not count."""


def accuracy(opinions: Sequence[Opinion], rule: TieProtocol, *, margin: float = 0.0, seed: int = 0) -> Share:
    """Preference accuracy under a tie protocol; requests are resampled, so pairs of one request stay together."""
    credits = _credits(opinions, rule, margin)
    resamples = _resampled_means(credits, _groups(opinions), seed)
    counted = ~np.isnan(credits)
    return Share(
        value=float(np.nanmean(credits)) if counted.any() else math.nan,
        low=_quantile(resamples, 0.025),
        high=_quantile(resamples, 0.975),
        counted=int(counted.sum()),
        failures=sum(o.verdict is None for o, c in zip(opinions, counted, strict=True) if c),
        left_out=int((~counted).sum()),
    )


def difference(
    first: Sequence[Opinion], second: Sequence[Opinion], rule: TieProtocol, *, margin: float = 0.0, seed: int = 0
) -> Share:
    """Accuracy of `first` minus that of `second`, paired: both are resampled by the same requests.

    ValueError if the two did not judge the same pairs.
    """
    if [o.key for o in first] != [o.key for o in second]:
        raise ValueError("a paired difference needs the same pairs in the same order")
    columns = [_credits(opinions, rule, margin) for opinions in (first, second)]
    resamples = np.subtract(*(_resampled_means(c, _groups(first), seed) for c in columns))
    counted = [~np.isnan(c) for c in columns]
    means = [float(np.nanmean(c)) if k.any() else math.nan for c, k in zip(columns, counted, strict=True)]
    return Share(
        value=means[0] - means[1],
        low=_quantile(resamples, 0.025),
        high=_quantile(resamples, 0.975),
        counted=int((counted[0] & counted[1]).sum()),
    )


def resampled_accuracies(opinions: Sequence[Opinion], rule: TieProtocol, *, seed: int = 0) -> Floats:
    """Accuracy in each of RESAMPLES draws of requests; judges of the same pairs are drawn alike."""
    return _resampled_means(_credits(opinions, rule, 0.0), _groups(opinions), seed)


def order_flips(opinions: Sequence[Opinion]) -> tuple[float, int]:
    """Share of pairs whose verdict changes when the images change places, and of how many pairs."""
    both = [o for o in opinions if o.forward is not None and o.backward is not None]
    return (sum(o.forward is not o.backward for o in both) / len(both) if both else math.nan), len(both)


def group_accuracy(opinions: Sequence[Opinion], rule: TieProtocol, margin: float = 0.0) -> tuple[float, int]:
    """Share of requests of which every counted pair is right, and of how many requests."""
    groups: dict[str, bool] = {}
    for opinion in opinions:
        mark = credit(opinion, rule, margin)
        if mark is not None:
            groups[opinion.request_id] = groups.get(opinion.request_id, True) and mark == 1.0
    return (sum(groups.values()) / len(groups) if groups else math.nan), len(groups)


def failures(opinions: Sequence[Opinion]) -> Counter[str]:
    """How often each reason left a pair without a verdict."""
    return Counter(o.reason for o in opinions if o.verdict is None)


def coverage(opinions: Sequence[Opinion], margin: float = 0.0) -> float:
    """Share of pairs on which the judge decided for A or B."""
    decided = [o.verdict is not None and o.with_margin(margin) is not Verdict.TIE for o in opinions]
    return sum(decided) / len(decided) if decided else math.nan


def retest_spread(repeats: Sequence[Sequence[Opinion]]) -> tuple[float, float]:
    """(standard deviation of a candidate's reward over repeats, share of pairs whose verdict is always the same).

    Candidates and pairs that failed in any repeat are left out of the first and count as changed in the second.
    """
    rows = list(zip(*repeats, strict=True))
    spreads = []
    for row in rows:
        rewards = [o.rewards for o in row if o.rewards is not None]
        if len(rewards) == len(row):
            spreads += np.std(np.array(rewards), axis=0, ddof=1).tolist()
    same = [len({o.verdict for o in row}) == 1 and row[0].verdict is not None for row in rows]
    return (float(np.mean(spreads)) if spreads else math.nan), sum(same) / len(same)


@dataclass(frozen=True, kw_only=True)
class ConfidenceCalibration:
    """How far the judge's confidence can be believed."""

    slope: float
    """k in P(A is preferred) = 1 / (1 + exp(-k (reward A - reward B))); the mean of two folds."""
    error: float
    """Expected calibration error over ten bins of equal count, 0 (honest) to 0.5."""
    brier: float
    pairs: int


def calibration(opinions: Sequence[Opinion], bins: int = 10) -> ConfidenceCalibration | None:
    """Calibration of reward differences, each half measured with the slope of the other (halves by request).

    None where fewer than 20 decided pairs have rewards.
    """
    usable = [o for o in opinions if o.rewards is not None and o.label is not Verdict.TIE]
    if len(usable) < 20:
        return None
    gaps = np.array([o.rewards[0] - o.rewards[1] for o in usable if o.rewards is not None])
    truth = np.array([float(o.label is Verdict.A) for o in usable])
    fold = _groups(usable) % 2
    slopes = [logistic_slope(gaps[fold == side], truth[fold == side]) for side in (0, 1)]
    chance = 1.0 / (1.0 + np.exp(-np.where(fold == 0, slopes[1], slopes[0]) * gaps))
    confidence = np.maximum(chance, 1.0 - chance)
    right = np.where(gaps == 0, 0.5, (chance > 0.5) == (truth > 0.5))
    parts = np.array_split(np.argsort(confidence, kind="stable"), bins)
    error = sum(len(p) * abs(confidence[p].mean() - right[p].mean()) for p in parts if len(p)) / len(usable)
    brier = float(np.mean((chance - truth) ** 2))
    return ConfidenceCalibration(slope=float(np.mean(slopes)), error=float(error), brier=brier, pairs=len(usable))


def logistic_slope(gaps: Floats, truth: Floats, most: float = 200.0) -> float:
    """Maximum-likelihood k of P = sigmoid(k gap), by Newton's method, kept within 0 and `most`."""
    k = 1.0
    for _ in range(100):
        chance = 1.0 / (1.0 + np.exp(-np.clip(k * gaps, -60, 60)))
        gradient = float(np.sum(gaps * (truth - chance)))
        curvature = float(np.sum(gaps**2 * chance * (1 - chance)))
        step = gradient / curvature if curvature > 1e-12 else math.copysign(1.0, gradient) * (gradient != 0)
        moved = min(most, max(0.0, k + max(-10.0, min(10.0, step))))
        if abs(moved - k) < 1e-9:
            break
        k = moved
    return k


def dimension_agreement(opinions: Sequence[Opinion]) -> dict[str, tuple[float, int, str]]:
    """Dimension key -> (share ordered as people did, pairs, `ratings` or `preference`).

    Compared with people's ratings of the dimension where there are any: one that the judge tied, called N/A for one
    side or failed on is not ordered as they did. Else compared with their overall preference, which a dimension need
    not follow: pairs on which the judge tied it are left out.
    """
    rated = {key for o in opinions for key in o.ratings}
    keys = {key for o in opinions for key in o.scores}
    table: dict[str, tuple[float, int, str]] = {}
    for key in sorted(rated | keys):
        by_ratings = key in rated
        marks = [m for o in opinions if (m := _ordered(o, key, by_ratings)) is not None]
        if marks:
            table[key] = (sum(marks) / len(marks), len(marks), "ratings" if by_ratings else "preference")
    return table


def _ordered(opinion: Opinion, key: str, by_ratings: bool) -> bool | None:
    if by_ratings:
        if key not in opinion.ratings:
            return None
        first, second = opinion.ratings[key]
    else:
        first, second = {Verdict.A: (1.0, 0.0), Verdict.B: (0.0, 1.0), Verdict.TIE: (0.0, 0.0)}[opinion.label]
    if first == second:
        return None
    a, b = opinion.scores.get(key, (None, None))
    if not by_ratings and opinion.verdict is not None and a == b:
        return None  # tied, or not applicable to this pair
    return a is not None and b is not None and (a - b) * (first - second) > 0


def _credits(opinions: Sequence[Opinion], rule: TieProtocol, margin: float) -> Floats:
    marks = [credit(opinion, rule, margin) for opinion in opinions]
    return np.array([math.nan if mark is None else mark for mark in marks])


def _groups(opinions: Sequence[Opinion]) -> NDArray[np.int64]:
    """A number per request, in order of appearance."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(o.request_id, len(numbers)) for o in opinions], dtype=np.int64)


def _resampled_means(credits: Floats, groups: NDArray[np.int64], seed: int) -> Floats:
    """Means of RESAMPLES draws of requests with replacement; the same seed draws the same requests."""
    if not len(credits):
        return np.full(RESAMPLES, math.nan)
    counted = ~np.isnan(credits)
    size = int(groups.max()) + 1
    totals = np.bincount(groups, weights=np.where(counted, credits, 0.0), minlength=size)
    counts = np.bincount(groups, weights=counted.astype(float), minlength=size)
    rng = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for index in range(RESAMPLES):
        times = np.bincount(rng.integers(size, size=size), minlength=size)
        weight = float(times @ counts)
        means[index] = float(times @ totals) / weight if weight else math.nan
    return means


def _quantile(values: Floats, place: float) -> float:
    numbers = values[~np.isnan(values)]
    return float(np.quantile(numbers, place)) if len(numbers) else math.nan


def spearman(first: Any, second: Any) -> float:
    """Rank correlation with tied ranks averaged."""

    def ranks(values: Any) -> np.ndarray:
        _, inverse, counts = np.unique(np.asarray(values, float), return_inverse=True, return_counts=True)
        averaged: np.ndarray = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
        return averaged

    a, b = ranks(first), ranks(second)
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else float("nan")
