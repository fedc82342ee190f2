"""The proof on the miniature world: does a reward that reasons resist being gamed?

    python -m training.nft.proof --out runs/nft-proof                 # about an hour on two idle cores
    python -m training.nft.proof --out runs/nft-proof --epochs 4 --seeds 1 --prompts 16      # a smoke test

Starting from the shipped generator, the same number of rollouts is judged by (1) the miniature scorer, (2) a scalar
head trained on the oracle's preferences, (3) the oracle itself. Whatever trained, the *oracle* says how true the
held-out pictures are, over training. Rivals without training: best-of-N and the refine loop on the shipped generator
and on the tuned one, at equal seconds (the demo's own comparison). Every run resumes; the report is rewritten at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rationalrewards_core.engines import make_scorer
from rationalrewards_core.errors import RationalRewardsError
from rationalrewards_core.miniature import generator_folder
from rationalrewards_core.miniature.demo import DemoOptions, bootstrap_interval, run_demo, summarise
from rationalrewards_core.miniature.generator import MiniatureGenerator
from rationalrewards_core.report.parts import Line, escaped, line_chart
from training.nft.config import NFTConfig, changed
from training.nft.evaluation import FILE
from training.nft.lora_file import FILE as LORA
from training.nft.presets import miniature_cpu
from training.nft.scalar import FILE as SCALAR
from training.nft.scalar import train_scalar
from training.nft.train import train

ARMS = ("scorer", "scalar", "oracle")
COLOURS = {"scorer": "#3b5bdb", "scalar": "#b3382c", "oracle": "#12805c"}


@dataclass(frozen=True, kw_only=True)
class ProofOptions:
    """How much is run."""

    arms: tuple[str, ...] = ARMS
    seeds: int = 3
    epochs: int = 30
    evaluate_every: int = 5
    prompts: int = 64
    """Held-out requests."""
    pairs: int = 6000
    """Preferences that the scalar head learns from."""
    rivals: int = 16
    """Requests of the comparison with best-of-N and refining; 0 leaves it out."""
    settings: tuple[str, ...] = ()
    """Further settings of every run, as on the trainer's command line."""


@dataclass(frozen=True)
class Curve:
    """One arm and seed: the oracle's rewards of the same requests at every evaluation, `[evaluations requests]`."""

    arm: str
    seed: int
    epochs: tuple[int, ...]
    truth: Any

    @property
    def means(self) -> list[float]:
        return [float(row.mean()) for row in self.truth]

    @property
    def gain(self) -> tuple[float, list[float]]:
        """Mean and 95 % interval of last minus first, request by request."""
        difference = self.truth[-1] - self.truth[0]
        return float(difference.mean()), bootstrap_interval(difference.tolist())


def arm_config(arm: str, seed: int, options: ProofOptions, out: Path) -> NFTConfig:
    from training.nft.__main__ import resolved

    judge = {"scorer": "miniature", "scalar": f"scalar:{out / 'scalar'}", "oracle": "oracle"}[arm]
    config = resolved("miniature_cpu", None, list(options.settings)) if options.settings else miniature_cpu()
    table = {
        "rewards": {"judge": judge, "held_out_judge": "oracle"},
        "run": {
            "seed": 42 + seed,
            "epochs": options.epochs,
            "evaluate_every": options.evaluate_every,
            "evaluate_prompts": options.prompts,
        },
    }
    return changed(config, table)


def run_arms(options: ProofOptions, out: Path) -> list[Curve]:
    """Train every arm and seed; finished ones are only read."""
    if "scalar" in options.arms and not (out / "scalar" / SCALAR).is_file():
        print("scalar head:", train_scalar(out / "scalar", pairs=options.pairs))
    curves = []
    for seed in range(options.seeds):
        for arm in options.arms:
            run = out / f"{arm}-{seed}"
            train(arm_config(arm, seed, options, out), run)
            curves.append(read_curve(run, arm, seed))
            print(arm, seed, [round(value, 4) for value in curves[-1].means])
    return curves


def read_curve(run: Path, arm: str, seed: int) -> Curve:
    rows = [json.loads(line) for line in (run / FILE).read_text().splitlines()]
    return Curve(arm, seed, tuple(row["epoch"] for row in rows), np.array([row["rewards"] for row in rows], float))


def rivals(options: ProofOptions, lora: Path | None) -> dict[str, Any]:
    """First image, refine loop and best-of-N at equal seconds, on the shipped generator or with a LoRA."""
    generator = MiniatureGenerator.load(generator_folder())
    if lora is not None:
        generator._pipeline.load_lora_weights(lora.parent, weight_name=lora.name)
    scorer = make_scorer("miniature")
    quiet = lambda stage, done, total: None  # noqa: E731
    runs, clock = asyncio.run(run_demo(scorer, generator, DemoOptions(prompts=options.rivals), quiet))
    return summarise(runs, clock)


def figures(curves: Sequence[Curve]) -> dict[str, Any]:
    """Per arm: start, end and gain of the truth, over all seeds together."""
    found: dict[str, Any] = {}
    for arm in dict.fromkeys(curve.arm for curve in curves):
        mine = [curve for curve in curves if curve.arm == arm]
        gains = np.concatenate([curve.truth[-1] - curve.truth[0] for curve in mine])
        found[arm] = {
            "seeds": len(mine),
            "truth_before": round(float(np.mean([curve.means[0] for curve in mine])), 4),
            "truth_after": round(float(np.mean([curve.means[-1] for curve in mine])), 4),
            "gain": round(float(gains.mean()), 4),
            "ci95": bootstrap_interval(gains.tolist()),
            "best_truth": round(max(max(curve.means) for curve in mine), 4),
        }
    return found


def write_report(out: Path, curves: Sequence[Curve], summary: dict[str, Any]) -> None:
    """summary.json, and a page with the curves."""
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    lines = []
    for arm in dict.fromkeys(curve.arm for curve in curves):
        rows = [curve.means for curve in curves if curve.arm == arm]
        lines.append(Line(arm, [float(v) for v in np.mean(rows, axis=0)], COLOURS[arm]))
    chart = line_chart(lines, "evaluation", "truth of held-out pictures (oracle)")
    page = f"<!doctype html><meta charset=utf-8><title>NFT proof</title>{chart}<pre>{escaped(json.dumps(summary, indent=2))}</pre>"
    (out / "report.html").write_text(page, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/nft-proof"))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    for name, default in (("seeds", 3), ("epochs", 30), ("evaluate-every", 5), ("prompts", 64), ("pairs", 6000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rivals", type=int, default=16, help="requests of the comparison; 0 leaves it out")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of every run")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    options = ProofOptions(
        arms=tuple(arguments.arms),
        seeds=arguments.seeds,
        epochs=arguments.epochs,
        evaluate_every=arguments.evaluate_every,
        prompts=arguments.prompts,
        pairs=arguments.pairs,
        rivals=arguments.rivals,
        settings=tuple(arguments.set),
    )
    try:
        curves = run_arms(options, arguments.out)
        summary: dict[str, Any] = {"arms": figures(curves)}
        if options.rivals:
            summary["rivals_shipped"] = rivals(options, None)
            tuned = arguments.out / f"{options.arms[0]}-0" / "weights" / LORA
            summary[f"rivals_{options.arms[0]}"] = rivals(options, tuned)
        write_report(arguments.out, curves, summary)
    except RationalRewardsError as error:
        raise SystemExit(f"{error}") from error
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main()
