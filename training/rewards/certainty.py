"""Whether a judge's certainty means something: the gap between its two rewards against how often it is right.

Two questions of the same gaps. *Calibration*: is a gap worth the probability that it is turned into? *Risk and
coverage*: if only the surest verdicts are taken, how many of them are wrong (selective prediction, 1705.08500)?
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rationalrewards_core.comparison import Verdict

from .figures import Floats, Share, calibration
from .opinions import Opinion
from .ties import PROTOCOLS, credit

DRAWS = 400
FEWEST = 20
"""Pairs with a winner below which nothing is said."""


@dataclass(frozen=True, kw_only=True)
class RiskCoverage:
    """How many verdicts are wrong, from the surest on."""

    coverage: Floats
    """Share of the pairs that are answered, rising to 1, `[pairs]`."""
    risk: Floats
    """Share of those that are wrong, `[pairs]`; ties count half, failures as wrong and least sure."""
    area: Share
    """Mean risk over all coverages, with a 95 % interval over requests: 0 is perfect."""
    surest_half: Share
    """Risk at half of the pairs."""


def risk_coverage(opinions: Sequence[Opinion]) -> RiskCoverage | None:
    """Of pairs with a winner; None for judges without rewards, or fewer than 20 pairs."""
    decided = [o for o in opinions if o.label is not Verdict.TIE]
    if len(decided) < FEWEST or not any(o.rewards for o in decided):
        return None
    risk = _risks(decided)
    return RiskCoverage(
        coverage=np.arange(1, len(decided) + 1) / len(decided),
        risk=risk,
        area=_share(decided, lambda some: float(_risks(some).mean())),
        surest_half=_share(decided, _half),
    )


def calibration_error(opinions: Sequence[Opinion]) -> Share | None:
    """Expected calibration error of reward gaps (`figures.calibration`) with a 95 % interval; None where it has none.

    Requests are resampled and slopes fitted anew. Chance alone gives some hundreds of pairs an error of 0.02 or 0.03, and
    resampled ones more: compare intervals of the same pairs, not with zero.
    """
    decided = [o for o in opinions if o.label is not Verdict.TIE]
    if calibration(decided) is None:
        return None

    def error(some: Sequence[Opinion]) -> float:
        fitted = calibration(some)
        return float("nan") if fitted is None else fitted.error

    return _share(decided, error)


def _risks(opinions: Sequence[Opinion]) -> Floats:
    """Risk after each pair, surest first. Pairs of the same gap have one place: each counts as their mean."""
    gaps = np.array([-1.0 if o.rewards is None else abs(o.rewards[0] - o.rewards[1]) for o in opinions])
    wrong = np.array([1.0 - (credit(o, PROTOCOLS["half"]) or 0.0) for o in opinions])
    _, place = np.unique(-np.round(gaps, 9), return_inverse=True)
    means = np.bincount(place, weights=wrong) / np.bincount(place)
    risks: Floats = np.cumsum(means[np.sort(place)]) / np.arange(1, len(opinions) + 1)
    return risks


def _half(opinions: Sequence[Opinion]) -> float:
    return float(_risks(opinions)[(len(opinions) + 1) // 2 - 1])


def _share(opinions: Sequence[Opinion], figure: Callable[[Sequence[Opinion]], float]) -> Share:
    """A figure with a percentile interval over requests, which are drawn with replacement."""
    groups: dict[str, list[Opinion]] = {}
    for opinion in opinions:
        groups.setdefault(opinion.request_id, []).append(opinion)
    requests, rng = list(groups.values()), np.random.default_rng(0)
    values = [
        figure([opinion for r in rng.integers(len(requests), size=len(requests)) for opinion in requests[r]])
        for _ in range(DRAWS)
    ]
    low, high = np.nanquantile(values, (0.025, 0.975))
    return Share(value=figure(opinions), low=float(low), high=float(high), counted=len(opinions))
