"""What came out: summary.json, report.html and a figure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from rationalrewards_core.report.parts import escaped, picture

from ...figures import Panel, Series, save_curves
from .measure import READINGS, figures
from .options import ParrotProofOptions
from .students import chosen_head_lr, chosen_lr, dev_figures

COLOURS = {"filtered": "#3b5bdb", "scalar": "#b3382c", "unfiltered": "#8a6d00", "direct": "#12805c"}
NAMES = {
    "filtered": "student, filtered rationales",
    "scalar": "scalar Bradley-Terry head",
    "unfiltered": "student, unfiltered",
    "direct": "student, no label (direct)",
}


def write_report(options: ParrotProofOptions, out: Path) -> dict[str, Any]:
    """Write all three; returns the summary."""
    summary = {
        "readings": figures(options, out),
        "development": dev_figures(options, out),
        "learning_rates": {"students": chosen_lr(options, out), "heads": chosen_head_lr(options, out)},
        "exports": {file.parent.name: json.loads(file.read_text())["counts"] for file in _exports(out)},
        "pipeline": json.loads((out / "pipeline.json").read_text(encoding="utf-8")),
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    draw(options, summary, out / "figure.png")
    (out / "report.html").write_text(page(summary, out / "figure.png"), encoding="utf-8")
    return summary


def _exports(out: Path) -> list[Path]:
    return sorted((out / "exports").glob("*/export.json"))


def draw(options: ParrotProofOptions, summary: dict[str, Any], path: Path) -> None:
    """Accuracy by the number of pairs, as written (ties half) and as expectations; single sizes are short lines."""
    panels = [_panel(options, summary, reading) for reading in ("half", "expected")]
    save_curves(path, panels)


def _panel(options: ParrotProofOptions, summary: dict[str, Any], reading: str) -> Panel:
    judges = summary["readings"][reading]["judges"]
    lines = []
    for arm in COLOURS:
        sizes = [size for size in options.sizes if f"{arm}-{size}" in judges]
        rows = [judges[f"{arm}-{size}"] for size in sizes]
        if rows:
            lines.append(_series(NAMES[arm], sizes, rows, COLOURS[arm]))
    for name, title in (("scorer", "shipped scorer"), ("base", "base")):
        if name in judges:
            values = [judges[name]["value"]] * len(options.sizes)
            colour = "#222222" if name == "scorer" else "#888888"
            lines.append(Series(name=title, x=options.sizes, y=values, colour=colour, dashed=True))
    return Panel(
        series=lines,
        x_label="preference pairs",
        y_label="held-out pairs ordered right",
        title=READINGS[reading].told,
        log_x=True,
        ticks=options.sizes,
    )


def _series(name: str, sizes: list[int], rows: list[dict[str, Any]], colour: str) -> Series:
    """A single point is drawn as a short level line, so that it can be seen."""
    spread = [sizes[0] * 0.8, *sizes, sizes[0] * 1.25] if len(sizes) == 1 else sizes
    points = rows * 3 if len(sizes) == 1 else rows
    return Series(
        name=name,
        x=spread,
        y=[row["value"] for row in points],
        colour=colour,
        low=[row["low"] for row in points],
        high=[row["high"] for row in points],
    )


def page(summary: dict[str, Any], figure: Path) -> str:
    with Image.open(figure) as image:
        chart = picture(image.convert("RGB"), "accuracy by number of pairs")
    tables = "".join(_reading(name, reading) for name, reading in summary["readings"].items())
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>PARROT: the proof</title>"
        "<style>body{font:15px/1.5 system-ui;max-width:60em;margin:2em auto;padding:0 1em}img{max-width:100%}"
        "td,th{padding:.2em .8em;text-align:left}</style>"
        f"<h1>PARROT: the proof on the miniature world</h1>{chart}"
        f"{tables}<h2>Everything</h2><pre>{escaped(json.dumps(summary, indent=2))}</pre></html>"
    )


def _reading(name: str, reading: dict[str, Any]) -> str:
    judges = _table(reading["judges"], ("value", "low", "high", "counted", "failures", "decided"))
    gaps = _table(reading["differences"], ("value", "low", "high", "counted"))
    ratios = escaped(json.dumps(reading["efficiency"], indent=1))
    return (
        f"<h2>Read as {escaped(name)}</h2><p>{escaped(reading['told'])}</p>{judges}<h3>Paired differences</h3>{gaps}"
        f"<h3>Pairs that a head needs over a student's own</h3><pre>{ratios}</pre>"
    )


def _table(rows: dict[str, dict[str, Any]], columns: tuple[str, ...]) -> str:
    head = "".join(f"<th>{escaped(name)}</th>" for name in ("", *columns))
    body = "".join(
        f"<tr><td>{escaped(name)}</td>{''.join(f'<td>{escaped(str(row[column]))}</td>' for column in columns)}</tr>"
        for name, row in rows.items()
    )
    return f"<table><tr>{head}</tr>{body}</table>"
