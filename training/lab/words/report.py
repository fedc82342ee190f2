"""Which part of the scorer's lead comes from its words, and whose certainty can be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...figures import Panel, Series, save_curves
from ...rewards.certainty import calibration_error, risk_coverage
from ...rewards.figures import Share, accuracy, coverage, difference
from ...rewards.opinions import Opinion
from ...rewards.ties import PROTOCOLS
from .ways import WAYS

HALF = PROTOCOLS["half"]


Judged = Mapping[str, Sequence[Sequence[Opinion]]]
"""Way -> seed of its training -> what it said of every pair."""


def figures(judged: Judged, cost: Mapping[str, Any]) -> dict[str, Any]:
    """Per way: agreement with the oracle (a tie earns a half), certainty, cost per pair; gaps are paired with the first.

    All seeds of a way are taken together; intervals are over requests, each with all of its seeds.
    """
    table: dict[str, Any] = {}
    first, rivals = next(iter(judged.items()))
    for way, seeds in judged.items():
        answers = [opinion for seed in seeds for opinion in seed]
        others = [opinion for i in range(len(seeds)) for opinion in rivals[i % len(rivals)]]
        risk, error = risk_coverage(answers), calibration_error(answers)
        table[way] = {
            "pairs": len(seeds[0]),
            "accuracy_of_each_seed": [round(accuracy(seed, HALF).value, 4) for seed in seeds],
            "accuracy": _rounded(accuracy(answers, HALF)),
            f"minus_{first}": _rounded(difference(answers, others, HALF)),
            "ties": round(1.0 - coverage(answers), 4),
            "failures": sum(o.verdict is None for o in answers),
            "calibration_error": _rounded(error),
            "risk_area": _rounded(risk and risk.area),
            "risk_surest_half": _rounded(risk and risk.surest_half),
            "cost": cost.get(way, {}),
        }
    return table


def _rounded(share: Share | None) -> list[float] | None:
    """Value, lower and upper end of its 95 % interval."""
    return None if share is None else [round(float(x), 4) for x in (share.value, share.low, share.high)]


def save_risk_curves(path: Path, judged: Judged) -> None:
    """Wrong verdicts over the share that is answered, surest first: the scorer as shipped, and what was taught against it."""
    lines = {}
    for way, seeds in judged.items():
        risk = risk_coverage([opinion for seed in seeds for opinion in seed])
        if risk is not None:
            lines[way] = Series(name=WAYS[way].label, x=list(risk.coverage), y=list(risk.risk), colour=WAYS[way].colour)
    own = [line for way, line in lines.items() if not WAYS[way].taught]
    without = [line for way, line in lines.items() if way == "words" or WAYS[way].taught]
    titles = ("The scorer as shipped", "Taught without words, against it")
    panels = [
        Panel(series=part, x_label="share of pairs answered, surest first", y_label="wrong among them", title=title)
        for title, part in zip(titles, (own, without), strict=True)
        if len(part) > 1
    ]
    if panels:
        save_curves(path, panels)
