"""A training run as one local page that refreshes itself: `live.html` in the run's folder, opened as a file.

It is made from what the run writes anyway (`metrics.jsonl`, `samples/`), so it shows an ended or killed run as well:
loss, rewards and every dimension, what is unscored and why, the held-out pictures over time, and how long the rest takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rationalrewards_core.jsonl import read_lines
from rationalrewards_core.report.page import html_page
from rationalrewards_core.report.parts import escaped
from rationalrewards_core.report.plot import Plot
from rationalrewards_core.storage import replace_file

from .pace import duration

FILE: Final = "live.html"
REFRESH: Final = 10
"""Seconds between two looks at the file."""
SHEETS: Final = 12
"""Newest sample sheets that are shown."""
POINTS: Final = 400
"""Points of a curve; longer ones are thinned."""
COLOURS: Final = ("#4c6ef5", "#12805c", "#d9480f", "#9c36b5", "#e8a100", "#0c8599", "#c2255c", "#5c940d")
HELD_OUT_REST: Final = ("held_out_reward", "held_out_perfect", "held_out_unscored", "held_out_diversity")
PANELS: Final[Sequence[tuple[str, Callable[[str], bool]]]] = (
    ("Loss", lambda name: name in ("loss", "kl")),
    ("Development pairs ordered as people did", lambda name: name == "pair_accuracy"),
    ("Reward", lambda name: name in ("reward", "held_out_reward", "held_out_perfect")),
    ("Dimensions", lambda name: name.startswith("dimension_")),
    ("Held-out dimensions", lambda name: name.startswith("held_out_") and name not in HELD_OUT_REST),
    (
        "Unscored, by reason",
        lambda name: (name.startswith("unscored_") and name != "unscored_share") or name == "held_out_unscored",
    ),
    ("Spread", lambda name: name in ("group_std", "diversity", "held_out_diversity")),
)
STYLE: Final = """
.panels { margin-top: 14px; display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 14px; }
.panels h3 { margin: 0 0 8px; font-size: 15px; } .legend span { margin-right: 14px; font-size: 12px; }
.sheets { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 14px; }
.sheets figure { margin: 0; } .sheets img { width: 100%; border-radius: 8px; image-rendering: pixelated; }
"""
Rows = Sequence[Mapping[str, Any]]


def write_live_page(run: Path, metrics: Path, samples: Path, total: int | None, *, running: bool = True) -> None:
    """Replace the page of a run's folder. `total` is the step of its end, if that is known."""
    rows = list(read_lines(metrics, dict))
    if not rows:
        return
    step = int(rows[-1]["step"])
    sheets = sorted(samples.glob("*.png"))[-SHEETS:]
    body = [
        f'<meta http-equiv="refresh" content="{REFRESH}">' if running else "",
        f"<h1>{escaped(run.name)}</h1><p class=lead>{escaped(_lead(rows, step, total, running))}</p>",
        _figures(rows),
        f"<div class=panels>{''.join(_panels(rows))}</div>",
        "<h2>Held-out pictures over time</h2>" if sheets else "",
        f"<div class=sheets>{''.join(_sheet(file, run) for file in reversed(sheets))}</div>",
    ]
    replace_file(run / FILE, [html_page(run.name, body, STYLE).encode()], lasting=False)


def _lead(rows: Rows, step: int, total: int | None, running: bool) -> str:
    place = f"step {step}" if total is None else f"step {step} of {total}"
    left = _left(rows, step, total) if running and total is not None else None
    to_go = "" if left is None else f", about {duration(left)} to go"
    return f"{'At' if running else 'Stopped after'} {place}{to_go}."


def _left(rows: Rows, step: int, total: int) -> float | None:
    """Seconds to the end at the pace of this start: a start's clock begins at zero."""
    first = len(rows) - 1
    while first > 0 and rows[first - 1]["seconds"] <= rows[first]["seconds"]:
        first -= 1
    steps, seconds = step - rows[first]["step"], rows[-1]["seconds"] - rows[first]["seconds"]
    return (total - step) * seconds / steps if steps > 0 else None


def _figures(rows: Rows) -> str:
    """The newest value of what matters most."""
    cells = []
    for name in ("loss", "pair_accuracy", "reward", "held_out_reward", "unscored_share"):
        values = [float(row[name]) for row in rows if isinstance(row.get(name), float)]
        if values:
            cells.append(
                f"<div class=figure><b>{values[-1]:.3f}</b><span>{escaped(name.replace('_', ' '))}</span>"
                f"<small>{values[0]:.3f} at first</small></div>"
            )
    return f"<section class=figures>{''.join(cells)}</section>"


def _panels(rows: Rows) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    panels = []
    for title, belongs in PANELS:
        curves = {name: points for name in names if belongs(name) and (points := _points(rows, name))}
        if curves:
            panels.append(f"<section class=chart><h3>{escaped(title)}</h3>{_chart(curves)}</section>")
    return panels


def _points(rows: Rows, name: str) -> list[tuple[float, float]]:
    points = [(float(row["step"]), float(row[name])) for row in rows if isinstance(row.get(name), int | float)]
    return points[:: max(1, -(-len(points) // POINTS))]


def _chart(curves: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """SVG lines over a shared range, their names below."""
    xs = [x for points in curves.values() for x, _ in points]
    ys = [y for points in curves.values() for _, y in points]
    width, height = 460, 200
    plot = Plot(
        left=52, right=width - 4, top=14, bottom=height - 28, x_range=(min(xs), max(xs)), y_range=(min(ys), max(ys))
    )
    lines, legend = plot.levels(3, ".3g"), []
    for (name, points), colour in zip(curves.items(), COLOURS * len(curves), strict=False):
        lines.append(plot.curve(points, f'stroke="{colour}" stroke-width="2"'))
        legend.append(f'<span style="color:{colour}">{escaped(name.replace("_", " "))} {points[-1][1]:.3f}</span>')
    for place, step, anchor in ((plot.left, min(xs), "start"), (plot.right, max(xs), "end")):
        lines.append(f'<text x="{place}" y="{height - 6}" text-anchor="{anchor}">{step:.0f}</text>')
    return f'<svg viewBox="0 0 {width} {height}">{"".join(lines)}</svg><p class=legend>{"".join(legend)}</p>'


def _sheet(file: Path, run: Path) -> str:
    name = file.relative_to(run).as_posix()
    return f'<figure><img src="{escaped(name)}" alt=""><figcaption>step {escaped(file.stem.lstrip("0") or "0")}</figcaption></figure>'
