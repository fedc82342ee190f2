"""Truth of what each policy ends with, by budget, against best-of-N for the same seconds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from rationalrewards_core.miniature.demo import THRESHOLD, bootstrap_interval

from ...figures import Panel, Series, save_curves
from ...nft.evaluation import PERFECT
from ..nft_recipes.use import best_so_far
from .policies import BUDGETS, FIRSTS, Prices, Trail

COLOURS: Final = {1: "#3b5bdb", 2: "#12805c", 4: "#d9730d", 8: "#862e9c"}
BEST_OF_N, STOPPING, REFINING = "best_of_n", "best_of_n_stopping", "first_1"
PATIENCES: Final = (1, 2, 3, 5)
Rows = Sequence[Mapping[str, Trail]]
"""Per request: policy -> trail."""


def figures(rows: Rows, most: int, prices: Prices) -> dict[str, Any]:
    """Budget -> policy -> truth, seconds a request, and its lead over best-of-N that had each request's own seconds.

    `most` is the largest budget, which the rows were measured on.
    """
    table: dict[str, Any] = {"requests": len(rows)}
    for budget in (budget for budget in BUDGETS if budget <= most):
        seconds = budget * (prices.image + prices.score)
        best_of_n = _ends(_after(rows, BEST_OF_N, [budget] * len(rows))) | {"seconds": _rounded(seconds)}
        table[str(budget)] = {BEST_OF_N: best_of_n, STOPPING: _stopping(rows, budget, prices)} | {
            f"first_{first}": _loop(rows, f"first_{first}", budget, prices) for first in FIRSTS if first < budget
        }
    return table


def _loop(rows: Rows, policy: str, budget: int, prices: Prices) -> dict[str, Any]:
    images = [min(budget, len(row[policy].truth)) for row in rows]
    ends = _after(rows, policy, images)
    rival = _after(rows, BEST_OF_N, [rival_images(count, prices) for count in images])
    refining = _after(rows, REFINING, [budget] * len(rows))
    mean = float(np.mean(images))
    return _ends(ends) | {
        "images": _rounded(mean),
        "seconds": _rounded(mean * (prices.image + prices.critique)),
        "best_of_n_same_seconds": _rounded(float(rival.mean())),
        "over_best_of_n": _gap(ends - rival),
        "over_refining_alone": _gap(ends - refining),
    }


def _stopping(rows: Rows, budget: int, prices: Prices) -> dict[str, float]:
    """Best-of-N that stops, as a loop does, once the judge is content."""
    images = [content_after(row[BEST_OF_N], budget) for row in rows]
    mean = float(np.mean(images))
    seconds = mean * (prices.image + prices.score)
    return _ends(_after(rows, BEST_OF_N, images)) | {"images": _rounded(mean), "seconds": _rounded(seconds)}


def patience_figures(rows: Rows, most: int) -> dict[str, Any]:
    """Patience -> images and truth of the loop alone on the largest budget, and its gap to the loop without any."""
    endless = _after(rows, REFINING, [most] * len(rows))
    table = {}
    for patience in PATIENCES:
        images = [patient_images(row[REFINING], patience) for row in rows]
        ends = _after(rows, REFINING, images)
        table[str(patience)] = _ends(ends) | {
            "images": _rounded(float(np.mean(images))),
            "over_none": _gap(ends - endless),
        }
    return table


def content_after(trail: Trail, images: int) -> int:
    """Images until the judge's reward reaches the loop's threshold, at most so many.

    No dimension can fail at that threshold: it would take the mean below.
    """
    rewards = enumerate(trail.rewards[:images], 1)
    return next((number for number, reward in rewards if reward is not None and reward >= THRESHOLD), images)


def patient_images(trail: Trail, patience: int) -> int:
    """Images of a loop that gives up after so many in a row without improvement."""
    highest, best = -1.0, -1
    for index, reward in enumerate(trail.rewards):
        if best >= 0 and index - (best + 1) >= patience:
            return index
        if reward is not None and reward > highest:
            highest, best = reward, index
    return len(trail.rewards)


def after(trail: Trail, images: int) -> float:
    """The truth of the picture that the judge holds for the best of the first so many."""
    return best_so_far(trail.rewards, trail.truth, max(images, len(trail.truth)))[images - 1]


def rival_images(images: int, prices: Prices) -> int:
    """As many images of best-of-N as the seconds of so many of a loop buy, rounded up."""
    return math.ceil(images * prices.rate - 1e-9)


def _after(rows: Rows, policy: str, images: Sequence[int]) -> np.ndarray:
    """Truth of every request, `[requests]`."""
    return np.array([after(row[policy], count) for row, count in zip(rows, images, strict=True)])


def _ends(truth: np.ndarray) -> dict[str, float]:
    return {"truth": _rounded(float(truth.mean())), "fully_right": _rounded(float((truth >= PERFECT).mean()))}


def _gap(gaps: np.ndarray) -> dict[str, Any]:
    return {"gain": _rounded(float(gaps.mean())), "ci95": bootstrap_interval(gaps.tolist())}


def _rounded(value: float) -> float:
    return round(value, 4)


def save_budget_curves(path: Path, parts: Mapping[str, Rows], most: int, prices: Prices) -> None:
    """Truth over the seconds of a request, one panel per set of requests; lines end where the largest budget does."""
    firsts = [first for first in FIRSTS if first < most]
    panels = [
        Panel(
            series=[*_rivals(rows, most, prices), *(_line(first, rows, most, prices) for first in firsts)],
            x_label="seconds a request",
            y_label="truth (oracle)",
            title=title,
        )
        for title, rows in parts.items()
    ]
    save_curves(path, panels)


def _rivals(rows: Rows, most: int, prices: Prices) -> list[Series]:
    budgets = range(1, most + 1)
    truth = [float(_after(rows, BEST_OF_N, [budget] * len(rows)).mean()) for budget in budgets]
    seconds = [budget * (prices.image + prices.score) for budget in budgets]
    content = [_stopping(rows, budget, prices) for budget in budgets]
    return [
        Series(name="best of N", x=seconds, y=truth, colour="#adb5bd", dashed=True),
        Series(
            name="best of N until content",
            x=[ends["seconds"] for ends in content],
            y=[ends["truth"] for ends in content],
            colour="#343a40",
            dashed=True,
        ),
    ]


def _line(first: int, rows: Rows, most: int, prices: Prices) -> Series:
    loops = [_loop(rows, f"first_{first}", budget, prices) for budget in range(1, most + 1)]
    return Series(
        name="refining" if first == 1 else f"best of {first}, then refining",
        x=[loop["seconds"] for loop in loops],
        y=[loop["truth"] for loop in loops],
        colour=COLOURS[first],
    )
