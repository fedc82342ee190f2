"""What the proof says: figures with intervals, curves, and a grid of pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from rationalrewards_core.images import data_url
from rationalrewards_core.miniature.demo import bootstrap_interval
from rationalrewards_core.report.parts import escaped

from ...figures import Panel, Series, save_curves
from .arms import Curve

COLOURS = {"scorer": "#3b5bdb", "head": "#d9730d", "scalar": "#b3382c", "oracle": "#12805c"}
NAMES = {
    "scorer": "reasoning scorer",
    "head": "scalar head, same backbone",
    "scalar": "scalar network",
    "oracle": "oracle",
}
SUMMARY, CURVES, GRID, PAGE = "summary.json", "curves.png", "grid.png", "report.html"


def arm_figures(curves: Sequence[Curve]) -> dict[str, Any]:
    """Per arm: truth at both ends, its gain with an interval over requests (mean over seeds first), and the rest."""
    table: dict[str, Any] = {}
    for arm in dict.fromkeys(curve.arm for curve in curves):
        mine = [curve for curve in curves if curve.arm == arm]
        gains = np.mean([curve.gains for curve in mine], axis=0)
        best = np.mean([curve.means for curve in mine], axis=0)
        table[arm] = {
            "seeds": len(mine),
            "truth_before": _mean([curve.means[0] for curve in mine]),
            "truth_after": _mean([curve.means[-1] for curve in mine]),
            "gain": round(float(gains.mean()), 4),
            "ci95": bootstrap_interval(gains.tolist()),
            "gain_of_each_seed": [round(curve.gain[0], 4) for curve in mine],
            "best_truth": round(float(best.max()), 4),
            "best_epoch": int(mine[0].epochs[int(best.argmax())]),
            "perfect_before": _mean([curve.perfect[0] for curve in mine]),
            "perfect_after": _mean([curve.perfect[-1] for curve in mine]),
            "perfect_ci95": bootstrap_interval(np.concatenate([curve.perfect_gains for curve in mine]).tolist()),
            "judge_first_epochs": _mean([float(np.mean(curve.judge[:5])) for curve in mine if curve.judge]),
            "judge_last_epochs": _mean([float(np.mean(curve.judge[-5:])) for curve in mine if curve.judge]),
            "diversity_before": _mean([curve.diversity[0] for curve in mine if curve.diversity]),
            "diversity_after": _mean([curve.diversity[-1] for curve in mine if curve.diversity]),
            "seconds_per_run": _mean([curve.seconds for curve in mine]),
        }
    return table


def _mean(values: Sequence[float]) -> float | None:
    return round(float(np.mean(values)), 4) if values else None


def lead(curves: Sequence[Curve], arm: str, other: str) -> dict[str, Any] | None:
    """How much more truth one reward wins than another, request by request; None where one has not been run."""
    if not {arm, other} <= {curve.arm for curve in curves}:
        return None
    gains = [np.mean([c.gains for c in curves if c.arm == name], axis=0) for name in (arm, other)]
    gap = gains[0] - gains[1]
    return {"gain": round(float(gap.mean()), 4), "ci95": bootstrap_interval(gap.tolist())}


def save_training_curves(path: Path, curves: Sequence[Curve]) -> None:
    """Truth, what the judge believed, and diversity, over epochs; bands are the range over seeds."""
    arms = list(dict.fromkeys(curve.arm for curve in curves))
    by_arm = {arm: [curve for curve in curves if curve.arm == arm] for arm in arms}
    truth = [_series(arm, mine[0].epochs, [c.means for c in mine]) for arm, mine in by_arm.items()]
    judge = [
        _series(arm, range(len(mine[0].judge)), [smooth(c.judge) for c in mine])
        for arm, mine in by_arm.items()
        if mine[0].judge
    ]
    spread = [
        _series(arm, mine[0].epochs, [c.diversity for c in mine]) for arm, mine in by_arm.items() if mine[0].diversity
    ]
    panels = [
        Panel(series=truth, x_label="epoch", y_label="truth (oracle), held out", title="What became true"),
        Panel(series=judge, x_label="epoch", y_label="reward by its own judge", title="What the judge believed"),
        Panel(series=spread, x_label="epoch", y_label="spread within a request", title="Diversity"),
    ]
    save_curves(path, [panel for panel in panels if panel.series])


def _series(arm: str, x: Sequence[float], rows: Sequence[Sequence[float]]) -> Series:
    table = np.array(rows)
    band = {"low": table.min(axis=0), "high": table.max(axis=0)} if len(rows) > 1 else {}
    return Series(name=NAMES[arm], x=list(x), y=table.mean(axis=0), colour=COLOURS[arm], **band)  # type: ignore[arg-type]


def smooth(values: Sequence[float], width: int = 5) -> list[float]:
    """Mean over the epochs around each; an epoch's own mean depends on which requests it drew."""
    half = width // 2
    return [float(np.mean(values[max(0, i - half) : i + half + 1])) for i in range(len(values))]


def picture_grid(requests: Sequence[str], columns: Mapping[str, Sequence[Image.Image]], scale: int = 2) -> Image.Image:
    """One row per request, one column per generator, the same noise along a row."""
    side = scale * next(iter(columns.values()))[0].width
    left, top = 330, 22
    sheet = Image.new("RGB", (left + len(columns) * (side + 6), top + len(requests) * (side + 6)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, (name, pictures) in enumerate(columns.items()):
        x = left + column * (side + 6)
        draw.text((x, 5), name, fill="black")
        for row, picture in enumerate(pictures):
            sheet.paste(picture.resize((side, side), Image.Resampling.NEAREST), (x, top + row * (side + 6)))
    for row, request in enumerate(requests):
        draw.multiline_text((6, top + row * (side + 6) + side // 3), _wrapped(request, 50), fill="black")
    return sheet


def _wrapped(text: str, width: int) -> str:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def write_report(out: Path, summary: Mapping[str, Any]) -> None:
    """summary.json, and a page with whatever pictures lie beside it."""
    text = json.dumps(summary, indent=2)
    (out / SUMMARY).write_text(text + "\n", encoding="utf-8")
    html = ""
    for name in (CURVES, GRID):
        if (out / name).is_file():
            with Image.open(out / name) as image:
                html += f'<p><img src="{data_url(image)}" alt="{name}">'
    page = f"<!doctype html><meta charset=utf-8><title>NFT proof</title>{html}<pre>{escaped(text)}</pre>"
    (out / PAGE).write_text(page, encoding="utf-8")
