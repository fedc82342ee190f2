"""A benchmark's tables as Markdown, JSON and CSV. Each says who judged, by which protocol, in whose words."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rationalrewards_core.storage import replacing_together

from .figures import OVERALL, FigureLine, Mean, Standing, Table
from .outputs import Suite

OVERALL_RULES = {"categories": "mean of the categories", "images": "mean of the images", "none": ""}


@dataclass(frozen=True, kw_only=True)
class About:
    """Where tables come from."""

    suite: Suite
    judge: str
    """Engine's name and settings."""
    models: tuple[str, ...]
    """Models that answered, as the server names them."""
    sampling: str
    """How its replies were drawn."""
    asked: str
    """`protocol`, or `rubric` for our own scorer."""
    wording: str
    outputs: str
    """Name of the folder of images."""
    expected: int
    """Images that the benchmark expects here."""
    left_out: Counter[str]
    limit: int | None = None
    stopped: str = ""
    """Why the run ended early."""

    @property
    def columns(self) -> tuple[str, ...]:
        return ("reward",) if self.asked == "rubric" else self.suite.columns

    @property
    def judged_by(self) -> str:
        return f"{self.judge} (model: {', '.join(self.models) or 'none answered'})"

    @property
    def protocol(self) -> str:
        if self.asked == "rubric":
            return f"our rubric, rewards 0 to 1 ({self.suite.title}'s requests only)"
        return f"{self.suite.protocol}, scores {self.suite.scale}, prompts {self.wording}"


def warnings_of(about: About, outcomes: Standing) -> list[str]:
    """Why these tables must not stand beside published ones, or are not whole."""
    suite, sentences = about.suite, []
    if about.asked == "rubric":
        sentences.append(f"This is not {suite.title}'s protocol: never put these figures beside published ones.")
    else:
        strangers = [model for model in about.models if not _is_official(model, suite)]
        if strangers:
            sentences.append(
                f"Published figures were judged by {' or '.join(suite.judges)}; these were judged by "
                f"{', '.join(strangers)} and cannot be compared with them."
            )
        if about.wording.startswith("ours"):
            sentences.append(
                "The questions are in our words, not the benchmark's: figures are not the published ones'."
            )
    if about.limit is not None:
        sentences.append(f"Only the first {about.expected} images were looked at.")
    elif suite.complete and about.expected % suite.complete:
        sentences.append(
            f"The published benchmark has {suite.complete} images in each part; here are {about.expected}."
        )
    if outcomes.missing:
        sentences.append(f"{len(outcomes.missing)} of {about.expected} images are missing; means are over the others.")
    if outcomes.reasons:
        sentences.append(f"{len(outcomes.reasons)} images are unscored; they are in no mean.")
    if about.stopped:
        sentences.append(f"The run ended early: {about.stopped}")
    return sentences


def _is_official(model: str, suite: Suite) -> bool:
    name = model.rsplit("/", 1)[-1].casefold()
    return any(name.startswith(judge.casefold()) for judge in suite.judges)


def markdown(about: About, outcomes: Standing, tables: Sequence[Table]) -> str:
    total = len(outcomes.values)
    lost = ", ".join(f"{reason} {count}" for reason, count in outcomes.counted.most_common()) or "none"
    lines = [
        f"# {about.suite.title}: {about.outputs}",
        "",
        f"- judge: {about.judged_by}, {about.sampling}",
        f"- protocol: {about.protocol}",
        f"- images: {about.expected} expected, {total} scored, {len(outcomes.reasons)} unscored, "
        f"{len(outcomes.missing)} missing",
        f"- unscored: {lost}",
    ]
    lines += [f"- left out by us: {reason}, {count}" for reason, count in about.left_out.most_common()]
    lines += ["", *(f"**Mind:** {warning}\n" for warning in warnings_of(about, outcomes))]
    for table in tables:
        lines += [*_table(about, table), ""]
    return "\n".join(lines).rstrip() + "\n"


def _table(about: About, table: Table) -> list[str]:
    columns = [cell for name in about.columns for cell in (name, "95 %")]
    head = ["category", *columns, "scored", "unscored", "missing"]
    return [
        f"## {table.sheet.name}",
        "",
        f"Judge: {about.judged_by}. Protocol: {about.protocol}.",
        "",
        "| " + " | ".join(head) + " |",
        "| " + " | ".join("---" for _ in head) + " |",
        *(_line(about, table, line) for line in table.lines),
    ]


def _line(about: About, table: Table, line: FigureLine) -> str:
    rule = OVERALL_RULES[table.sheet.overall]
    title = f"**{OVERALL}** ({rule})" if line.category == OVERALL else line.category.replace("|", "\\|")
    cells = [cell for mean in line.means for cell in _shown(mean, places=3 if about.asked == "rubric" else 2)]
    return "| " + " | ".join([title, *cells, str(line.scored), str(line.unscored), str(line.missing)]) + " |"


def _shown(mean: Mean, places: int) -> tuple[str, str]:
    if math.isnan(mean.value):
        return "", ""
    return f"{mean.value:.{places}f}", f"{mean.low:.{places}f} to {mean.high:.{places}f}"


def rows_of(about: About, tables: Sequence[Table]) -> list[dict[str, Any]]:
    """One row per category and column; None where there is no number."""
    return [
        {
            "benchmark": about.suite.name,
            "sheet": table.sheet.name,
            "category": line.category,
            "overall_is": OVERALL_RULES[table.sheet.overall] if line.category == OVERALL else "",
            "column": column,
            **{name: _number(getattr(mean, name)) for name in ("value", "low", "high")},
            "scored": line.scored,
            "unscored": line.unscored,
            "missing": line.missing,
            "judge": about.judge,
            "model": ", ".join(about.models),
            "protocol": about.protocol,
        }
        for table in tables
        for line in table.lines
        for column, mean in zip(about.columns, line.means, strict=True)
    ]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)


def write_tables(folder: Path, about: About, outcomes: Standing, tables: Sequence[Table]) -> str:
    """Write table.md, table.json and table.csv; returns the Markdown."""
    text, rows = markdown(about, outcomes, tables), rows_of(about, tables)
    whole = {
        "benchmark": about.suite.title,
        "outputs": about.outputs,
        "judge": about.judge,
        "models": list(about.models),
        "sampling": about.sampling,
        "protocol": about.protocol,
        "expected": about.expected,
        "scored": len(outcomes.values),
        "unscored": dict(outcomes.counted),
        "missing": sorted(outcomes.missing),
        "left_out": dict(about.left_out),
        "warnings": warnings_of(about, outcomes),
        "rows": rows,
    }
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]) if rows else ["benchmark"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    pages = {
        "table.md": text,
        "table.json": json.dumps(whole, indent=2, ensure_ascii=False) + "\n",
        "table.csv": table.getvalue(),
    }
    with replacing_together(folder, list(pages)) as files:
        for file, page in zip(files, pages.values(), strict=True):
            file.write(page.encode())
    return text
