"""Judges side by side, as Markdown. Every table names its tie protocol; a figure never stands without its counts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..rewards.certainty import calibration_error, risk_coverage
from ..rewards.figures import (
    Share,
    accuracy,
    calibration,
    coverage,
    difference,
    dimension_agreement,
    failures,
    group_accuracy,
    order_flips,
)
from ..rewards.opinions import Opinion
from ..rewards.ties import PROTOCOLS, protocol
from .judged import JudgedSet


def report(sets: Sequence[JudgedSet], *, protocols: Sequence[str] = tuple(PROTOCOLS), margin: float = 0.0) -> str:
    """All tables. Judges are compared on the pairs that all of them were asked."""
    shared = _shared(sets)
    pairs = len(shared[0].opinions) if shared else 0
    lines = [f"# Judges on {pairs} pairs", "", *_still_open(sets)]
    if margin:
        lines += [f"Rewards within {margin:g} of each other are a tie.", ""]
    for name in protocols:
        lines += [*_accuracy_table(shared, name, margin), ""]
    lines += [*_behaviour_table(shared, margin), "", *_certainty_table(shared)]
    lines += [*_dimension_table(shared), *_cost_table(shared)]
    return "\n".join(lines).rstrip() + "\n"


def _shared(sets: Sequence[JudgedSet]) -> list[JudgedSet]:
    """Everything cut to the pairs that every judge has, in one order."""
    common = set.intersection(*({o.key for o in r.opinions} for r in sets)) if sets else set()
    order = [o.key for o in sets[0].opinions if o.key in common] if sets else []
    keys = []
    for one in sets:
        by_key = {o.key: o for o in one.opinions}
        keys.append(JudgedSet(one.judge, [by_key[key] for key in order], one.about))
    return keys


def _still_open(sets: Sequence[JudgedSet]) -> list[str]:
    """Pairs that a judge could not be asked about, which no table counts."""
    lines = []
    for one in sets:
        reasons = ", ".join(f"{reason} {count}" for reason, count in one.about.get("open", {}).items())
        if reasons:
            lines += [f"**Still open for {one.judge}: {reasons}.** These pairs are in no table; judge them again.", ""]
    return lines


def _accuracy_table(sets: Sequence[JudgedSet], name: str, margin: float) -> list[str]:
    rule = protocol(name)
    lines = [
        f"## Accuracy, tie protocol `{name}`: {rule.description}",
        "",
        "| judge | accuracy | 95 % | counted | failed | left out | whole requests | minus the first judge |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for index, one in enumerate(sets):
        share = accuracy(one.opinions, rule, margin=margin)
        whole, groups = group_accuracy(one.opinions, rule, margin)
        against = ""
        if index:
            gap = difference(one.opinions, sets[0].opinions, rule, margin=margin)
            against = f"{_number(gap.value, '+.3f')} ({_number(gap.low, '+.3f')} to {_number(gap.high, '+.3f')})"
        lines.append(
            f"| {one.judge} | {_number(share.value)} | {_interval(share)} | {share.counted} | {share.failures} "
            f"| {share.left_out} | {_number(whole)} of {groups} | {against} |"
        )
    return lines


def _behaviour_table(sets: Sequence[JudgedSet], margin: float) -> list[str]:
    lines = [
        "## Behaviour",
        "",
        "| judge | decided | verdict changes with the order | calibration error | slope | failures |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in sets:
        flips, both = order_flips(one.opinions)
        fitted = calibration(one.opinions)
        error, slope = (f"{fitted.error:.3f} ({fitted.pairs} pairs)", f"{fitted.slope:.1f}") if fitted else ("", "")
        lost = ", ".join(f"{reason} {count}" for reason, count in failures(one.opinions).most_common()) or "none"
        turned = f"{_number(flips)} of {both}" if both else ""
        decided = _number(coverage(one.opinions, margin))
        lines.append(f"| {one.judge} | {decided} | {turned} | {error} | {slope} | {lost} |")
    return lines


def _certainty_table(sets: Sequence[JudgedSet]) -> list[str]:
    """Whether a wider gap between two rewards is a surer verdict."""
    rows = []
    for one in sets:
        if (risk := risk_coverage(one.opinions)) is None or (error := calibration_error(one.opinions)) is None:
            continue
        cells = [f"{_number(share.value)} ({_interval(share)})" for share in (error, risk.area, risk.surest_half)]
        rows.append(f"| {one.judge} | " + " | ".join([*cells, _number(float(risk.risk[-1]))]) + " |")
    head = [
        "## Certainty: how far the gap between two rewards can be believed",
        "",
        "| judge | calibration error (95 %) | area under risk and coverage | wrong in the surest half | wrong in all |",
        "| --- | --- | --- | --- | --- |",
    ]
    return [*head, *rows, ""] if rows else []


def _dimension_table(sets: Sequence[JudgedSet]) -> list[str]:
    columns = [(one.judge, dimension_agreement(one.opinions)) for one in sets]
    rows = [
        f"| {judge} | {key} | {share:.3f} | {pairs} | {against} |"
        for judge, table in columns
        for key, (share, pairs, against) in table.items()
    ]
    head = ["## Dimensions ordered as people did", "", "| judge | dimension | share | pairs | compared with |"]
    return [*head, "| --- | --- | --- | --- | --- |", *rows, ""] if rows else []


def _cost_table(sets: Sequence[JudgedSet]) -> list[str]:
    rows = []
    for one in sets:
        cost = one.about.get("cost", {})
        if cost:
            cells = [cost.get(k, "") for k in ("seconds", "replies", "prompt_tokens", "completion_tokens")]
            rows.append(f"| {one.judge} | " + " | ".join(str(cell) for cell in cells) + " |")
    head = ["## Cost per pair", "", "| judge | seconds | replies | prompt tokens | written tokens |"]
    return [*head, "| --- | --- | --- | --- | --- |", *rows, ""] if rows else []


def retest_line(judge: str, repeats: Sequence[Sequence[Opinion]], spread: float, same: float) -> str:
    return (
        f"{judge}, asked {len(repeats)} times about {len(repeats[0])} pairs: a candidate's reward spreads by "
        f"{spread:.4f} (standard deviation), the verdict is always the same for {same:.3f} of pairs"
    )


def _interval(share: Share) -> str:
    return f"{_number(share.low)} to {_number(share.high)}"


def _number(value: float, form: str = ".3f") -> str:
    return "" if math.isnan(value) else format(value, form)
