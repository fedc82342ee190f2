"""Which recipe of training keeps its gain as the generator is used: with guidance, best-of-N and refining?

    python -m training.lab.nft_recipes --out runs/nft-recipes                      # every recipe, three seeds: hours
    python -m training.lab.nft_recipes --out runs/nft-recipes --recipes plain guided --seeds 1 --held-out 0

Every recipe starts from the shipped generator and may spend the work of `plain` (passes, by `--estimate`). They are
chosen by the oracle's truth of development requests, drawn as the generator is used. Then `plain` and the chosen recipe
go against the shipped generator on the held-out requests, which nothing else looks at. Everything that was measured is
kept in the folder: the same command goes on where it was stopped, and rewrites the report.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rationalrewards_core.miniature.generator import GUIDANCE, MiniatureGenerator

from ...nft.lora_file import FILE as LORA
from ...run import CONFIG, METRICS
from ...run_settings import settle
from ..command import comparison_parser, run_comparison
from ..nft_proof.arms import train_run
from ..nft_proof.report import CURVES, GRID, picture_grid, write_report
from ..nft_proof.rivals import tuned_generator
from .report import chosen, development_figures, held_out_figures, save_recipe_curves
from .requests import HELD_OUT_SEED, held_out_requests, write_refinements
from .shift import generator_in_use
from .table import PLAIN, RECIPES, REFINED, RecipeOptions, milestones, run_settings
from .use import development_truth, held_out_use


def compare(options: RecipeOptions, out: Path) -> dict[str, Any]:
    """Run what is missing; returns the summary, which is also written after every part."""
    out.mkdir(parents=True, exist_ok=True)
    fixed = {"epochs", "milestones", "judge", "refinements", "settings"}
    settle(
        out / CONFIG,
        {key: value for key, value in asdict(options).items() if key in fixed},
        begun=True,
        holds=f"{out} holds a comparison with other settings",
        advice="choose another --out or delete it",
    )
    if any(REFINED in " ".join(RECIPES[name].settings) for name in options.recipes):
        write_refinements(out / REFINED, tuned_generator(None), options.refinements)
    shipped = {
        g: development_truth(
            out / "development" / f"{options.development}-shipped-{g:g}.json",
            partial(tuned_generator, None, g),
            options.development,
        )
        for g in sorted({GUIDANCE, *(RECIPES[name].guidance for name in options.recipes)})
    }
    truth: dict[str, list[list[np.ndarray]]] = {}
    summary: dict[str, Any] = {"judge": options.judge}
    for seed in range(options.seeds):
        for name in options.recipes:
            truth.setdefault(name, []).append(_trained(name, seed, options, out))
            epochs = {each: milestones(each, options, out) for each in truth}
            summary["development"] = development_figures(shipped, truth, epochs)
            rewards = {each: [rollout_rewards(out, each, i) for i in range(len(rows))] for each, rows in truth.items()}
            save_recipe_curves(out / CURVES, shipped, truth, rewards)
            write_report(out, summary)
    if options.held_out:
        _held_out(options, out, summary)
    return summary


def _trained(name: str, seed: int, options: RecipeOptions, out: Path) -> list[np.ndarray]:
    """Development truth at every milestone, `[requests]` each; trains as far as is needed."""
    runs = []
    for epochs in milestones(name, options, out):
        weights = weights_of(out, name, seed, epochs)
        if not weights.is_file():
            run = run_of(out, name, seed)
            train_run(run, [*run_settings(name, seed, options, out), f"run.epochs={epochs}"])
            weights.parent.mkdir(exist_ok=True)
            shutil.copyfile(run / "weights" / LORA, weights.with_suffix(".part"))
            weights.with_suffix(".part").replace(weights)
        measured = out / "development" / f"{options.development}-{name}-{seed}-{epochs:06d}.json"
        runs.append(development_truth(measured, _load(name, weights), options.development))
        print(name, seed, epochs, round(float(runs[-1].mean()), 4), flush=True)
    return runs


def rollout_rewards(out: Path, name: str, seed: int) -> list[float]:
    """Mean reward of every epoch's rollouts."""
    lines = (run_of(out, name, seed) / METRICS).read_text(encoding="utf-8").splitlines()
    return [row["reward"] for row in map(json.loads, lines) if "reward" in row]


def run_of(out: Path, name: str, seed: int) -> Path:
    return out / f"{RECIPES[name].trained_as or name}-{seed}"


def weights_of(out: Path, name: str, seed: int, epochs: int) -> Path:
    return run_of(out, name, seed) / "milestones" / f"{epochs:06d}.safetensors"


def _load(name: str, weights: Path) -> Callable[[], MiniatureGenerator]:
    return partial(generator_in_use, RECIPES[name], weights)


def _held_out(options: RecipeOptions, out: Path, summary: dict[str, Any]) -> None:
    """`plain` and the chosen recipe against the shipped generator, on requests that nothing was chosen on."""
    summary["chosen"] = chosen(summary["development"], options.recipes)
    names = list(dict.fromkeys(name for name in (PLAIN, summary["chosen"]) if name in options.recipes))
    size = (options.held_out, options.images)
    folder = out / "held_out" / f"{options.images}-images"
    shipped = held_out_use(folder / "shipped", partial(tuned_generator, None), *size)
    uses = {
        name: [
            held_out_use(
                folder / f"{name}-{seed}",
                _load(name, weights_of(out, name, seed, milestones(name, options, out)[-1])),
                *size,
            )
            for seed in range(options.seeds)
        ]
        for name in names
    }
    summary["held_out"] = held_out_figures(shipped, uses)
    _grid(options, out, names)
    write_report(out, summary)


def _grid(options: RecipeOptions, out: Path, names: Sequence[str], requests: int = 8) -> None:
    texts = held_out_requests(requests)
    seeds = [HELD_OUT_SEED + 1000 * i for i in range(requests)]
    generators = {"shipped": tuned_generator(None)}
    for name in names:
        weights = weights_of(out, name, 0, milestones(name, options, out)[-1])
        generators[name] = _load(name, weights)()
    columns = {name: generator.generate_many(texts, seeds) for name, generator in generators.items()}
    picture_grid(texts, columns).save(out / GRID)


def main() -> None:
    defaults = RecipeOptions()
    parser = comparison_parser("nft_recipes", __doc__, defaults)
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--judge", "--engine", default=defaults.judge, help="the reward (default: %(default)s)")
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="a setting of every run"
    )
    run_comparison(compare, RecipeOptions, parser.parse_args())


if __name__ == "__main__":
    main()
