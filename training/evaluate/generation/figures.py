"""Means of a benchmark's tables, with intervals and with everything that is not in them counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .answers import BenchmarkAnswer
from .output_questions import RUBRIC
from .outputs import Output, Scores, Sheet, Suite

RESAMPLES: Final = 2000
OVERALL: Final = "overall"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Mean:
    """A mean with a 95 % interval; NaN where it cannot be had."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class FigureLine:
    """One line of a table."""

    category: str
    means: tuple[Mean, ...]
    """One per column."""
    scored: int
    unscored: int
    missing: int


@dataclass(frozen=True, kw_only=True)
class Table:
    """One sheet of a benchmark, filled in."""

    sheet: Sheet
    lines: tuple[FigureLine, ...]
    """Categories in order of appearance; the overall is the last where the sheet has one."""


@dataclass
class Standing:
    """What became of the outputs: each is scored, unscored for a reason, or missing."""

    values: dict[str, Sequence[Scores]] = field(default_factory=dict)
    """Output key -> what it is worth at each of its places."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Output key -> why it is unscored."""
    missing: set[str] = field(default_factory=set)

    @property
    def counted(self) -> Counter[str]:
        return Counter(self.reasons.values())


def standing(suite: Suite, outputs: Sequence[Output], answers: Sequence[BenchmarkAnswer], *, rubric: bool) -> Standing:
    """An output is scored only if every question about it was answered: no part of it stands for the whole."""
    by_output: dict[str, dict[str, BenchmarkAnswer]] = {}
    for answer in answers:
        by_output.setdefault(answer.output, {})[answer.question] = answer
    table = Standing()
    for output in outputs:
        had = by_output.get(output.key, {})
        names = [RUBRIC] if rubric else [question.name for question in output.questions]
        failed = [had[name].reason if name in had else "not_asked" for name in names if not _scored(had, name)]
        if output.path is None:
            table.missing.add(output.key)
        elif failed:
            table.reasons[output.key] = failed[0]
        elif rubric:
            table.values[output.key] = [had[RUBRIC].scores or ()] * len(output.places)
        else:
            table.values[output.key] = suite.marks(output, {name: had[name].scores or () for name in names})
    return table


def _scored(answers: Mapping[str, BenchmarkAnswer], name: str) -> bool:
    return name in answers and answers[name].scores is not None


def tables_of(outputs: Sequence[Output], outcomes: Standing, columns: int, seed: int = 0) -> list[Table]:
    """Every sheet, in order of appearance."""
    sheets = list(dict.fromkeys(place.sheet for output in outputs for place in output.places))
    return [_table(sheet, outputs, outcomes, columns, seed) for sheet in sheets]


def _table(sheet: Sheet, outputs: Sequence[Output], outcomes: Standing, columns: int, seed: int) -> Table:
    names = list(dict.fromkeys(p.category for o in outputs for p in o.places if p.sheet == sheet))
    sums, counts = _totals(sheet, names, outputs, outcomes, columns)
    value, overall = _means(sums.sum(0), counts.sum(0), sheet)
    resamples, overall_resamples = _resampled(sums, counts, sheet, seed)
    lost = _lost(sheet, outputs, outcomes)
    lines = [
        FigureLine(
            category=name,
            means=tuple(_mean(value[row, c], resamples[:, row, c]) for c in range(columns)),
            scored=int(counts[:, row].sum()),
            unscored=lost[name, "unscored"],
            missing=lost[name, "missing"],
        )
        for row, name in enumerate(names)
    ]
    if sheet.overall != "none":
        means = tuple(_mean(overall[c], overall_resamples[:, c]) for c in range(columns))
        lines.append(_overall(means, lines))
    return Table(sheet=sheet, lines=tuple(lines))


def _overall(means: tuple[Mean, ...], lines: Sequence[FigureLine]) -> FigureLine:
    return FigureLine(
        category=OVERALL,
        means=means,
        scored=sum(line.scored for line in lines),
        unscored=sum(line.unscored for line in lines),
        missing=sum(line.missing for line in lines),
    )


def _totals(
    sheet: Sheet, names: Sequence[str], outputs: Sequence[Output], outcomes: Standing, columns: int
) -> tuple[Floats, Floats]:
    """Sums (unit, category, column) and counts (unit, category) of everything scored in a sheet."""
    outputs_left = [output for output in outputs if output.key in outcomes.values]
    numbers: dict[str, int] = {}
    for output in outputs_left:
        numbers.setdefault(output.unit or output.key, len(numbers))
    sums = np.zeros((len(numbers), len(names), columns))
    counts = np.zeros((len(numbers), len(names)))
    for output in outputs_left:
        unit = numbers[output.unit or output.key]
        for place, value in zip(output.places, outcomes.values[output.key], strict=True):
            if place.sheet == sheet:
                sums[unit, names.index(place.category)] += value
                counts[unit, names.index(place.category)] += 1
    return sums, counts


def _means(sums: Floats, counts: Floats, sheet: Sheet) -> tuple[Floats, Floats]:
    """Means of the categories, and the overall by the sheet's rule; NaN where nothing was counted.

    Takes (category, column) and (category), with any axes before them.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        categories = sums / counts[..., None]
        if sheet.overall == "categories":
            return categories, categories.mean(-2)
        return categories, sums.sum(-2) / counts.sum(-1)[..., None]


def _resampled(sums: Floats, counts: Floats, sheet: Sheet, seed: int) -> tuple[Floats, Floats]:
    """`_means` of RESAMPLES draws of units with replacement."""
    units = len(sums)
    times = np.zeros((RESAMPLES, 0))
    if units:
        times = np.random.default_rng(seed).multinomial(units, np.full(units, 1.0 / units), size=RESAMPLES)
    return _means(np.tensordot(times, sums, 1), times @ counts, sheet)


def _mean(value: float, resamples: Floats) -> Mean:
    """Draws in which a category was empty are left out of the interval."""
    numbers = resamples[~np.isnan(resamples)]
    if math.isnan(value) or not len(numbers):
        return Mean(math.nan, math.nan, math.nan)
    return Mean(float(value), float(np.quantile(numbers, 0.025)), float(np.quantile(numbers, 0.975)))


def _lost(sheet: Sheet, outputs: Sequence[Output], outcomes: Standing) -> Counter[tuple[str, str]]:
    lost: Counter[tuple[str, str]] = Counter()
    for output in outputs:
        what = "missing" if output.key in outcomes.missing else "unscored" if output.key in outcomes.reasons else ""
        lost.update((place.category, what) for place in output.places if what and place.sheet == sheet)
    return lost
