"""What the comparison says: intervals over requests and seeds, and curves over the work spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...figures import Panel, Series, save_curves
from ...nft.evaluation import PERFECT
from ..nft_proof.report import smooth
from .table import RECIPES
from .use import Use

DRAWS = 10_000


def interval(gaps_S_R: np.ndarray) -> list[float]:
    """95 % percentile interval of the mean of paired differences `[seeds requests]`, resampling both."""
    rng = np.random.default_rng(0)
    seeds, requests = gaps_S_R.shape
    s = rng.integers(seeds, size=(DRAWS, seeds))
    r = rng.integers(requests, size=(DRAWS, requests))
    # The mean over drawn seeds and drawn requests is that of the product of how often each was drawn.
    of_seed = np.stack([(s == i).mean(axis=1) for i in range(seeds)], axis=1)
    means = np.array([weights @ gaps_S_R[:, rows].mean(axis=1) for weights, rows in zip(of_seed, r, strict=True)])
    return [round(float(value), 4) for value in np.percentile(means, (2.5, 97.5))]


def gain(tuned: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> dict[str, Any]:
    """How much truer than the other, whose seeds are paired with these, or who has one for all."""
    gaps = np.array([mine - (other[i] if len(other) > 1 else other[0]) for i, mine in enumerate(tuned)])
    return {"gain": round(float(gaps.mean()), 4), "ci95": interval(gaps)}


def development_figures(
    shipped: Mapping[float, np.ndarray], truth: Mapping[str, Sequence[Sequence[np.ndarray]]], epochs: Mapping[str, Any]
) -> dict[str, Any]:
    """Per recipe: truth `[seeds milestones requests]` of development requests against the shipped, guided generator."""
    guided = max(shipped)
    table: dict[str, Any] = {
        "shipped": {f"guidance {g:g}": round(float(values.mean()), 4) for g, values in shipped.items()}
    }
    for name, rows in truth.items():
        last = [row[-1] for row in rows]
        table[name] = {
            "seeds": len(rows),
            "epochs": epochs[name],
            "guidance_in_use": RECIPES[name].guidance,
            "truth": [round(float(np.mean(values)), 4) for values in zip(*rows, strict=True)],
            "truth_of_each_seed": [round(float(values.mean()), 4) for values in last],
            "over_shipped": gain(last, [shipped[guided]]),
            "perfect": round(float(np.mean([values >= PERFECT for values in last])), 4),
        }
    return table


def chosen(development: Mapping[str, Any], recipes: Sequence[str]) -> str:
    """The recipe with the highest development truth at the end."""
    return max(recipes, key=lambda name: development[name]["truth"][-1])


def held_out_figures(shipped: Use, tuned: Mapping[str, Sequence[Use]]) -> dict[str, Any]:
    """One image, best-of-N and the loop, by number of images; gains are over the same way of the shipped generator."""
    images = shipped.best_of_n.shape[1]
    budgets = [n for n in (1, 2, 4, 8, 16) if n <= images]
    table: dict[str, Any] = {"requests": len(shipped.best_of_n), "shipped": _truths([shipped], budgets)}
    for name, uses in tuned.items():
        over = {"one_image": gain([u.best_of_n[:, 0] for u in uses], [shipped.best_of_n[:, 0]])}
        for n in budgets[1:]:
            for way in ("best_of_n", "refine_loop"):
                over[f"{way}_{n}"] = gain([getattr(u, way)[:, n - 1] for u in uses], [getattr(shipped, way)[:, n - 1]])
        table[name] = {**_truths(uses, budgets), "seeds": len(uses), "over_shipped": over}
    return table


def _truths(uses: Sequence[Use], budgets: Sequence[int]) -> dict[str, Any]:
    def mean(way: str, n: int) -> float:
        return round(float(np.mean([getattr(use, way)[:, n - 1] for use in uses])), 4)

    ways = {f"{way}_{n}": mean(way, n) for n in budgets[1:] for way in ("best_of_n", "refine_loop")}
    return {"one_image": mean("best_of_n", 1), **ways}


def save_recipe_curves(
    path: Path,
    shipped: Mapping[float, np.ndarray],
    truth: Mapping[str, Sequence[Sequence[np.ndarray]]],
    rewards: Mapping[str, Sequence[Sequence[float]]],
) -> None:
    """Development truth as each generator is used, and the mean reward of its rollouts `[seeds epochs]`, over the work.

    Bands are the range over seeds.
    """
    starts = {name: float(shipped[RECIPES[name].guidance].mean()) for name in truth}
    used = [
        _series(name, [[starts[name], *(float(values.mean()) for values in row)] for row in rows], first=0.0)
        for name, rows in truth.items()
    ]
    own = [_series(name, [smooth(row) for row in rows]) for name, rows in rewards.items()]
    label = "share of the work"
    panels = [
        Panel(series=used, x_label=label, y_label="truth (oracle), development", title="As it is used"),
        Panel(series=own, x_label=label, y_label="reward of rollouts", title="As it trains"),
    ]
    save_curves(path, panels)


def _series(name: str, rows: Sequence[Sequence[float]], first: float | None = None) -> Series:
    """A recipe's line over shares of the work; `first` is where it starts, else after the first of its points."""
    table, recipe = np.array(rows), RECIPES[name]
    count = table.shape[1]
    x = np.linspace(1.0 / count if first is None else first, 1.0, count)
    band = {"low": table.min(axis=0), "high": table.max(axis=0)} if len(rows) > 1 else {}
    return Series(name=recipe.label, x=x, y=table.mean(axis=0), colour=recipe.colour, **band)  # type: ignore[arg-type]
