"""Best-of-N, refining and mixtures at 2, 4, 8 and 16 images, at equal seconds.

    python -m training.lab.budgets --out runs/budgets            # about an hour of one core; resumes

The policy is chosen by development requests; held-out requests are looked at once, for the table. The judge is the
shipped scorer, the oracle says what a picture is worth. The same command goes on where it was stopped, eight requests at a
time, and rewrites the report.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rationalrewards_core.engines import EngineOptions, make_scorer
from rationalrewards_core.errors import RationalRewardsError

from ..nft_proof.report import CURVES, write_report
from ..nft_proof.rivals import tuned_generator
from ..nft_recipes.requests import FIRST_IMAGE, HELD_OUT_SEED, development_requests, held_out_requests
from .policies import TOGETHER, prices, trails
from .report import figures, patience_figures, save_budget_curves

PROBE = 32


@dataclass(frozen=True, kw_only=True)
class BudgetOptions:
    """How many requests; more of them may be asked for later."""

    development: int = 64
    held_out: int = 64


def compare(options: BudgetOptions, out: Path) -> dict[str, Any]:
    """Measure what is missing; returns the summary, which is also written after every part."""
    torch.set_num_threads(1)  # processor seconds are compared
    out.mkdir(parents=True, exist_ok=True)
    # In fp32, so that what else is in a judge's batch moves no word.
    scorer = make_scorer("miniature", EngineOptions(precision="fp32", batch_size=32))
    generator = tuned_generator(None)
    cost = prices(out / "prices.json", development_requests(PROBE), scorer, generator)
    summary: dict[str, Any] = {"prices": {**vars(cost), "rate": round(cost.rate, 4)}}
    parts = {}
    for name, requests, seed in (
        ("development", development_requests(options.development), FIRST_IMAGE),
        ("held out", held_out_requests(options.held_out), HELD_OUT_SEED),
    ):
        if requests:
            parts[name] = trails(out / name.replace(" ", "_"), requests, seed, scorer, generator)
            summary[name] = {**figures(parts[name], cost), "patience": patience_figures(parts[name])}
            save_budget_curves(out / CURVES, parts, cost)
            write_report(out, summary)
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.lab.budgets", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    defaults = BudgetOptions()
    parser.add_argument("--out", type=Path, default=Path("runs/budgets"))
    for name in ("development", "held_out"):
        value = getattr(defaults, name)
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=int, default=value, help=f"requests, in eights (default {value})"
        )
    values = vars(parser.parse_args())
    out: Path = values.pop("out").absolute()
    counts = {name: count - count % TOGETHER for name, count in values.items()}
    try:
        summary = compare(BudgetOptions(**counts), out)
    except RationalRewardsError as error:
        raise SystemExit(f"{error}") from error
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main()
