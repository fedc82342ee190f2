"""The page to look at: what was gained, how training went, what was kept and dropped, and critiques before and after."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rationalrewards_core.critique import critique_from_json
from rationalrewards_core.jsonl import read_lines
from rationalrewards_core.report.page import html_page
from rationalrewards_core.report.parts import dimension_bars, escaped, picture
from rationalrewards_core.rubric import Rubric
from rationalrewards_core.storage import replace_file

from ..data.labelled_pairs import PairFolder
from ..data.store import ImageStore
from ..figures import Panel, Series, save_curves
from ..parrot.accounting import account
from ..parrot.calibration import Calibration
from ..parrot.report import EXTRA_STYLE
from ..parrot.run import ParrotRun, Rubrics
from ..run import METRICS
from .gain import Gain
from .job import JudgeJob

WITHOUT_TEACHER: Final = (
    "Made without a teacher: the scores learned your taste, the words did not. Below, what it says against a picture is "
    "often what it said by chance when it agreed with you. Use it where scores decide; where you read critiques or refine by "
    "them, give it a --teacher."
)
STYLE: Final = """
.both { display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr)); gap: 18px; margin-top: 12px; }
.both img { width: 150px; }
"""


def write_page(
    job: JudgeJob, run: ParrotRun, rubrics: Rubrics, gain: Gain, examples: Sequence[Mapping[str, Any]]
) -> Path:
    """Write `report.html`, self-contained; returns its path."""
    title = f"Your judge: {job.run.name}"
    body = [
        f"<h1>{escaped(title)}</h1><p class=lead>{escaped(gain.sentence[0].upper() + gain.sentence[1:])}.</p>",
        "" if job.teacher else f"<p class=lead>{escaped(WITHOUT_TEACHER)}</p>",
        _figures(job, gain),
        f"<h2>Training</h2><section class=chart>{_curves(job)}</section>",
        "<h2>What was kept and dropped</h2>",
        _kept(run, rubrics),
        "<h2>Before and after, on picks it has not seen</h2>",
        *(_example(example, ImageStore(job.export), rubrics) for example in examples),
    ]
    path = job.run / "report.html"
    replace_file(path, [html_page(title, body, EXTRA_STYLE + STYLE).encode()])
    return path


def _figures(job: JudgeJob, gain: Gain) -> str:
    pairs = len(PairFolder(job.export).pairs("train"))
    shares = (("before", gain.before), ("after", gain.after))
    cells = [
        (f"{100 * share.value:.0f} %", f"as you did, {name}", f"{100 * share.low:.0f} to {100 * share.high:.0f} %")
        for name, share in shares
    ]
    cells += [
        (str(pairs), "training pairs", f"{gain.after.counted} held out"),
        (job.base, "base", job.teacher or "no teacher"),
    ]
    return "<section class=figures>" + "".join(
        f"<div class=figure><b>{escaped(value)}</b><span>{escaped(label)}</span><small>{escaped(note)}</small></div>"
        for value, label, note in cells
    ) + "</section>"  # fmt: skip


def _curves(job: JudgeJob) -> str:
    rows = list(read_lines(job.run / "sft" / METRICS, dict))
    losses = [(row["step"], row["loss"]) for row in rows if "loss" in row]
    shares = [(row["step"], row["pair_accuracy"]) for row in rows if "pair_accuracy" in row]
    panels = [
        Panel(
            series=(Series(name=name, x=[s for s, _ in points], y=[v for _, v in points], colour="#3b5bdb"),),
            x_label="step",
            y_label=name,
        )
        for name, points in (("loss on the answers", losses), ("development pairs as you did", shares))
        if points
    ]
    file = job.run / "curves.png"
    save_curves(file, panels)
    content = base64.b64encode(file.read_bytes()).decode()
    return f'<img style="max-width:100%" alt="loss and accuracy by step" src="data:image/png;base64,{content}">'


def _kept(run: ParrotRun, rubrics: Rubrics) -> str:
    counted = account(run, rubrics, Calibration(), samples=0)
    rows = [
        f"<tr><td>{escaped(stage.title)}<td>{escaped(reason or 'kept')}<td class=number>{count}"
        for stage in counted.stages
        for reason, count in sorted(stage.reasons.items(), key=lambda entry: -entry[1])
    ]
    return f"<div class=scroll><table><tr><th>stage<th>what became of it<th>records{''.join(rows)}</table></div>"


def _example(example: Mapping[str, Any], store: ImageStore, rubrics: Rubrics) -> str:
    rubric = rubrics.student(example["kind"])
    sides = []
    for place, name in enumerate(example["images"]):
        yours = "your pick" if example["preference"] == "AB"[place] else "the other"
        critiques = "".join(
            f"<h4>{when}: {_reward(example[when][place])}</h4>{_words(example[when][place], rubric)}"
            for when in ("before", "after")
        )
        sides.append(f"<div>{picture(store.open(name), yours)}<p><b>{yours}</b></p>{critiques}</div>")
    return f"<article class=run><header><h3>{escaped(example['request'])}</h3></header><div class=both>{''.join(sides)}</div></article>"


def _reward(outcome: Mapping[str, Any]) -> str:
    return "unscored" if "unscored" in outcome else f"{outcome['reward']:.2f}"


def _words(outcome: Mapping[str, Any], rubric: Rubric) -> str:
    if "unscored" in outcome:
        return f"<p>{escaped(outcome['unscored'])}</p>"
    return dimension_bars(critique_from_json(outcome["critique"]), rubric)
