"""The quantisation gate: the same pairs under several precisions; does the judge still judge the same?

The bar: accuracy within one point of the first precision, and a rank correlation of the candidates' rewards of at
least 0.98. Both are shown with what they were measured on, so that a pass on few pairs can be seen for what it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from rationalrewards_core.backends.device import resolve_precision
from rationalrewards_core.errors import ConfigError

from ..data.labelled_pairs import LabelledPair, PairFolder
from ..rewards.figures import Share, accuracy, difference, spearman
from ..rewards.opinions import Opinion
from ..rewards.ties import PROTOCOLS
from .running import JudgeSettings, judge_pairs

MOST_LOST: Final = 0.01
LEAST_CORRELATION: Final = 0.98
GATE_PROTOCOL: Final = "forced"


@dataclass(frozen=True, kw_only=True)
class GateRow:
    """One precision against the first."""

    precision: str
    accuracy: Share
    difference: Share
    """Accuracy minus that of the first precision, paired."""
    correlation: float
    """Spearman's rho of the candidates' rewards with those of the first precision; NaN if they do not vary."""
    candidates: int
    """Candidates that both precisions could judge."""

    @property
    def passed(self) -> bool:
        close = self.difference.value >= -MOST_LOST - 1e-12
        return close and not math.isnan(self.correlation) and self.correlation >= LEAST_CORRELATION


def gate(
    settings: JudgeSettings, precisions: Sequence[str], folder: PairFolder, pairs: Sequence[LabelledPair], out: Path
) -> list[GateRow]:
    """Judge all pairs under every precision; opinions stay in `out` and are not asked for twice."""
    if not settings.judge.startswith(("local:", "miniature")):
        raise ConfigError(
            f"The gate needs a model it can load itself (miniature or local:...), not {settings.judge!r}."
        )
    precisions = [resolve_precision(name, settings.device) for name in precisions]
    checks = [
        judge_pairs(replace(settings, precision=name, mode="pointwise"), folder, pairs, out) for name in precisions
    ]
    return [gate_row(name, opinions, checks[0]) for name, opinions in zip(precisions, checks, strict=True)]


def gate_row(precision: str, opinions: Sequence[Opinion], first: Sequence[Opinion]) -> GateRow:
    rule = PROTOCOLS[GATE_PROTOCOL]
    both = [(a.rewards, b.rewards) for a, b in zip(opinions, first, strict=True) if a.rewards and b.rewards]
    here, there = (
        ([value for rewards in column for value in rewards] for column in zip(*both, strict=True)) if both else ([], [])
    )
    return GateRow(
        precision=precision,
        accuracy=accuracy(opinions, rule),
        difference=difference(opinions, first, rule),
        correlation=spearman(here, there) if here else math.nan,
        candidates=len(here),
    )


def gate_table(rows: Sequence[GateRow]) -> str:
    lines = [
        f"Tie protocol `{GATE_PROTOCOL}`; bar: at most {MOST_LOST:.2f} lost, rank correlation at least {LEAST_CORRELATION}.",
        "",
        "| precision | accuracy | minus the first | 95 % | rank correlation | pairs | candidates | failed | gate |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        gap = row.difference
        lines.append(
            f"| {row.precision} | {row.accuracy.value:.3f} | {gap.value:+.3f} | {gap.low:+.3f} to {gap.high:+.3f} "
            f"| {row.correlation:.4f} | {row.accuracy.counted} | {row.candidates} | {row.accuracy.failures} "
            f"| {'pass' if row.passed else 'fail'} |"
        )
    return "\n".join(lines) + "\n"
