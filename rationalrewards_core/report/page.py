"""The report page: figures on top, a chart, then one card per loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ..critique import Critique
from ..loop.endings import ending, titles_of
from ..loop.refine import RefineState, RefineStep, StopReason
from ..rubric import Rubric
from ..storage import replace_text
from .parts import Line, dimension_bars, escaped, line_chart, picture, word_diff


@dataclass(frozen=True)
class Figure:
    """One number on top of the report."""

    value: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class ReportRow:
    """One loop of the report."""

    state: RefineState
    reason: StopReason
    rubric: Rubric
    remark: str = ""
    """Shown beside the stop reason, such as the oracle's opinion."""


def write_report(
    path: Path,
    rows: Sequence[ReportRow],
    *,
    title: str,
    lead: str,
    figures: Sequence[Figure] = (),
    lines: Sequence[Line] = (),
    footer: str = "",
) -> None:
    """Write one self-contained HTML file. `lines` share the chart of the reward by images spent."""
    chart = line_chart(lines, "images spent per request", "mean reward of the best so far")
    body = [
        f"<h1>{escaped(title)}</h1><p class=lead>{escaped(lead)}</p>",
        f"<section class=figures>{''.join(_figure(f) for f in figures)}</section>" if figures else "",
        f"<h2>Reward of the best so far</h2><section class=chart>{chart}</section>" if chart else "",
        "<h2>Every request</h2>",
        *(_run(row) for row in rows),
        f"<footer>{escaped(footer)}</footer>" if footer else "",
    ]
    replace_text(path, html_page(title, body))


def html_page(title: str, body: Sequence[str], more_style: str = "") -> str:
    """A whole page around pieces of HTML, in the reports' style; `more_style` is CSS of the page's own."""
    style = resources.files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<title>{escaped(title)}</title><style>{style}{more_style}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>"
    )


def _figure(figure: Figure) -> str:
    note = f"<small>{escaped(figure.note)}</small>" if figure.note else ""
    return f"<div class=figure><b>{escaped(figure.value)}</b><span>{escaped(figure.label)}</span>{note}</div>"


def _run(row: ReportRow) -> str:
    state = row.state
    first, best = state.steps[0], state.best
    kind = "good" if row.reason is StopReason.REACHED else ""
    why = ending(state, row.reason, titles_of(row.rubric))
    images = f"{len(state.steps)} image{'s'[: len(state.steps) != 1]}"
    pills = f'<span class="pill {kind}">{images}</span><span class="pill {kind}">{escaped(why)}</span>'
    if row.remark:
        pills += f"<span class=pill>{escaped(row.remark)}</span>"
    sides = [_side(first, row.rubric, "before")]
    if best is not None and best.index != first.index:
        sides.append(_side(best, row.rubric, "after"))
    return (
        f"<article class=run><header><h3>{escaped(state.request.text)}</h3><div>{pills}</div></header>"
        f"{_sources(row)}<div class=pair>{''.join(sides)}</div>{_words(state, first, best)}{_strip(state)}</article>"
    )


def _sources(row: ReportRow) -> str:
    if not row.state.request.sources:
        return ""
    figures = "".join(
        f"<figure>{picture(s, 'source')}<figcaption>source</figcaption></figure>" for s in row.state.request.sources
    )
    return f"<div class=strip>{figures}</div>"


def _side(step: RefineStep, rubric: Rubric, label: str) -> str:
    image = picture(step.image, f"{label}: {step.request}") if step.image is not None else ""
    reward = "unscored" if step.reward is None else f"reward {step.reward:.2f}"
    caption = f"<figcaption>{label} · {reward} · seed {step.seed}</figcaption>"
    if isinstance(step.outcome, Critique):
        body = dimension_bars(step.outcome, rubric)
    else:
        body = f"<p class=unscored>Unscored ({escaped(step.outcome.reason)}): {escaped(step.outcome.message)}</p>"
    return f"<div class=side><figure>{image}{caption}</figure><div>{body}</div></div>"


def _words(state: RefineState, first: RefineStep, best: RefineStep | None) -> str:
    rows = []
    if isinstance(first.outcome, Critique):
        if first.outcome.summary:
            rows.append(("first critique", escaped(first.outcome.summary)))
        if first.outcome.refinement is not None and first.outcome.refinement.comments:
            rows.append(("what to change", escaped(first.outcome.refinement.comments)))
    if best is not None and best.request != state.request.text:
        rows.append(("request, refined", word_diff(state.request.text, best.request)))
    if not rows:
        return ""
    return "<dl class=words>" + "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in rows) + "</dl>"


def _strip(state: RefineState) -> str:
    if len(state.steps) < 2:
        return ""
    best = state.best
    figures = []
    for step in state.steps:
        if step.image is None:
            continue
        mark = " class=best" if best is not None and step.index == best.index else ""
        reward = "unscored" if step.reward is None else f"{step.reward:.2f}"
        seconds = step.generate_seconds + step.judge_seconds
        caption = f"{step.index + 1}. {step.origin}<br>{reward} · {seconds:.1f} s"
        figures.append(f"<figure{mark}>{picture(step.image, step.request)}<figcaption>{caption}</figcaption></figure>")
    return f"<div class=strip>{''.join(figures)}</div>"
