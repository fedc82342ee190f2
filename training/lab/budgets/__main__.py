"""Best-of-N, refining and mixtures at 2, 4, 8 and 16 images, at equal seconds.

    python -m training.lab.budgets --out runs/budgets            # about an hour of one core; resumes
    python -m training.lab.budgets --out runs/budgets-4 --images 4 --development 8 --held-out 16       # minutes

The policy is chosen by development requests; held-out requests are looked at once, for the table. The judge is the
shipped scorer, the oracle says what a picture is worth. The same command goes on where it was stopped, eight requests at a
time, and rewrites the report.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rationalrewards_core.engines import EngineOptions, make_scorer
from rationalrewards_core.errors import ConfigError

from ...run import CONFIG
from ...run_settings import settle
from ..command import comparison_parser, run_comparison
from ..nft_proof.report import CURVES, write_report
from ..nft_proof.rivals import tuned_generator
from ..nft_recipes.requests import FIRST_IMAGE, HELD_OUT_SEED, development_requests, held_out_requests
from .policies import BUDGETS, TOGETHER, prices, trails
from .report import figures, patience_figures, save_budget_curves

PROBE = 32
"""Requests that prices are measured on, at most."""


@dataclass(frozen=True, kw_only=True)
class BudgetOptions:
    """How many requests, in eights, and images; more requests may be asked for later."""

    development: int = 64
    held_out: int = 64
    images: int = BUDGETS[-1]
    """The largest budget."""

    def __post_init__(self) -> None:
        if self.development % TOGETHER or self.held_out % TOGETHER or self.development < TOGETHER:
            raise ConfigError(f"Requests are measured {TOGETHER} at a time: ask for a multiple of that, and for some.")
        if self.images not in BUDGETS:
            raise ConfigError(f"images must be one of {', '.join(map(str, BUDGETS))}, not {self.images}.")


def compare(options: BudgetOptions, out: Path) -> dict[str, Any]:
    """Measure what is missing; returns the summary, which is also written after every part."""
    torch.set_num_threads(1)  # processor seconds are compared
    out.mkdir(parents=True, exist_ok=True)
    settle(
        out / CONFIG,
        {"images": options.images},
        begun=True,
        holds=f"{out} holds a comparison with another budget",
        advice="choose another --out or delete it",
    )
    # In fp32, so that what else is in a judge's batch moves no word.
    scorer = make_scorer("miniature", EngineOptions(precision="fp32", batch_size=32))
    generator = tuned_generator(None)
    cost = prices(out / "prices.json", development_requests(min(PROBE, options.development)), scorer, generator)
    summary: dict[str, Any] = {"prices": {**vars(cost), "rate": round(cost.rate, 4)}}
    parts = {}
    for name, requests, seed in (
        ("development", development_requests(options.development), FIRST_IMAGE),
        ("held out", held_out_requests(options.held_out), HELD_OUT_SEED),
    ):
        if requests:
            parts[name] = trails(out / name.replace(" ", "_"), requests, seed, options.images, scorer, generator)
            summary[name] = figures(parts[name], options.images, cost) | {
                "patience": patience_figures(parts[name], options.images)
            }
            save_budget_curves(out / CURVES, parts, options.images, cost)
            write_report(out, summary)
    return summary


def main() -> None:
    run_comparison(compare, BudgetOptions, comparison_parser("budgets", __doc__, BudgetOptions()).parse_args())


if __name__ == "__main__":
    main()
