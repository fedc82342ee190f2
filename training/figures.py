"""Curves as PNG files, for guides and reports. matplotlib is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rationalrewards_core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line of a figure, and how far its repetitions lie apart."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    low: Sequence[float] | None = None
    """Lower edge of the band around the line; None draws no band."""
    high: Sequence[float] | None = None
    dashed: bool = False


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One set of axes."""

    series: Sequence[Series]
    x_label: str
    y_label: str
    title: str = ""
    log_x: bool = False
    ticks: Sequence[float] = ()
    """Values of x that get a label; empty leaves it to the library."""


def save_curves(path: Path, panels: Sequence[Panel]) -> None:
    """Draw the panels side by side; ConfigError when matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("Drawing curves needs matplotlib: pip install 'rationalrewards[training]'.") from error
    figure = Figure(figsize=(5.4 * len(panels), 3.6), dpi=110, layout="constrained")
    for axes, panel in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        for line in panel.series:
            axes.plot(line.x, line.y, color=line.colour, label=line.name, linestyle="--" if line.dashed else "-")
            if line.low is not None and line.high is not None:
                axes.fill_between(line.x, line.low, line.high, color=line.colour, alpha=0.15, linewidth=0)
        axes.set(xlabel=panel.x_label, ylabel=panel.y_label, title=panel.title)
        if panel.log_x:
            axes.set_xscale("log")
        if panel.ticks:
            axes.set_xticks(panel.ticks, labels=[f"{tick:g}" for tick in panel.ticks])
            axes.minorticks_off()
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
