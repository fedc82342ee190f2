"""The runs: one per reward and seed, each a process of its own, all the same but for their judge."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rationalrewards_core.errors import ConfigError
from rationalrewards_core.miniature.demo import bootstrap_interval

from ... import PACKAGE
from ...nft.evaluation import FILE, PERFECT
from ...nft.lora_file import FILE as LORA
from ...rewards.picture_head import FILE as SCALAR
from ...rewards.picture_head import train_scalar
from .head import train_head

ARMS = ("scorer", "head", "scalar", "oracle")
"""The miniature scorer; a scalar head on its backbone; a small scalar network of its own; the truth."""
FIRST_SEED = 42


@dataclass(frozen=True, kw_only=True)
class NFTProofOptions:
    """How much is run."""

    arms: tuple[str, ...] = ARMS
    seeds: int = 3
    epochs: int = 30
    evaluate_every: int = 5
    prompts: int = 64
    """Held-out requests of the curves, two pictures each."""
    pairs: int = 12_000
    """Rendered preferences that the scalar network learns from."""
    drawn: int = 512
    """Requests whose drawn pictures it learns from, too."""
    head_pairs: int = 4_000
    head_drawn: int = 256
    """The same for the head on the scorer's backbone, which needs fewer."""
    head_steps: int = 300
    rivals: int = 32
    """Requests of the comparison with best-of-N and refining; 0 leaves it out."""
    workers: int = 2
    """Runs at once, one thread each."""
    settings: tuple[str, ...] = ()
    """Further settings of every run, as on the trainer's command line."""


@dataclass(frozen=True)
class Curve:
    """One arm and seed over training."""

    arm: str
    seed: int
    epochs: tuple[int, ...]
    truth: np.ndarray
    """The oracle's rewards of the same pictures at every evaluation, `[evaluations requests group]`, in [0, 1]."""
    judge: tuple[float, ...] = ()
    """The mean reward that the run's own judge gave its rollouts, epoch by epoch."""
    diversity: tuple[float, ...] = ()
    """Spread of the pictures of one held-out request, at every evaluation."""
    seconds: float = 0.0

    @property
    def means(self) -> list[float]:
        return [float(rows.mean()) for rows in self.truth]

    @property
    def perfect(self) -> list[float]:
        """Share of pictures that are fully right."""
        return [float((rows >= PERFECT).mean()) for rows in self.truth]

    @property
    def gains(self) -> np.ndarray:
        """Last minus first, `[requests]`."""
        gains: np.ndarray = (self.truth[-1] - self.truth[0]).mean(axis=-1)
        return gains

    @property
    def perfect_gains(self) -> np.ndarray:
        """Share of each request's pictures that became fully right, less the share that no longer is, `[requests]`."""
        right = (self.truth >= PERFECT).mean(axis=-1)
        gains: np.ndarray = right[-1] - right[0]
        return gains

    @property
    def gain(self) -> tuple[float, list[float]]:
        """Mean over requests and its 95 % interval."""
        return float(self.gains.mean()), bootstrap_interval(self.gains.tolist())


def judge_of(arm: str, out: Path) -> str:
    """What the trainer calls an arm's judge."""
    return {
        "scorer": "miniature",
        "head": f"head:{out / 'head' / 'run' / 'head'}",
        "scalar": f"scalar:{out / 'scalar'}",
        "oracle": "oracle",
    }[arm]


def settings_of(arm: str, seed: int, options: NFTProofOptions, out: Path) -> list[str]:
    """What a run is told on top of the preset; the arms differ in `rewards.judge` alone."""
    return [
        f"rewards.judge={json.dumps(judge_of(arm, out))}",
        'rewards.held_out_judge="oracle"',
        f"run.seed={FIRST_SEED + seed}",
        f"run.epochs={options.epochs}",
        f"run.evaluate_every={options.evaluate_every}",
        f"run.evaluate_prompts={options.prompts}",
        "run.evaluate_group=2",
        *options.settings,
    ]


def run_arms(options: NFTProofOptions, out: Path) -> list[Curve]:
    """Train every arm and seed; finished ones are only read, others resume."""
    if "scalar" in options.arms and not (out / "scalar" / SCALAR).is_file():
        print(
            "scalar network:",
            train_scalar(out / "scalar", pairs=options.pairs, drawn_requests=options.drawn),
            flush=True,
        )
    if "head" in options.arms:
        train_head(out / "head", pairs=options.head_pairs, drawn_requests=options.head_drawn, steps=options.head_steps)
    jobs = [(arm, seed) for seed in range(options.seeds) for arm in options.arms]

    def job(which: tuple[str, int]) -> Curve:
        arm, seed = which
        run = run_folder(out, arm, seed)
        train_run(run, settings_of(arm, seed, options, out))
        curve = read_curve(run, arm, seed)
        print(arm, seed, [round(value, 4) for value in curve.means], flush=True)
        return curve

    with ThreadPoolExecutor(options.workers) as pool:
        return list(pool.map(job, jobs))


def run_folder(out: Path, arm: str, seed: int) -> Path:
    return out / f"{arm}-{seed}"


def lora_of(out: Path, arm: str, seed: int) -> Path:
    return run_folder(out, arm, seed) / "weights" / LORA


def train_run(run: Path, settings: Sequence[str]) -> None:
    """The trainer's own command: a run that was cut off goes on, a finished one ends at once."""
    command = [sys.executable, "-m", f"{PACKAGE}.nft", "--preset", "miniature_cpu", "--run", str(run), "--threads", "1"]
    for setting in settings:
        command += ["--set", setting]
    run.parent.mkdir(parents=True, exist_ok=True)
    log = run.parent / f"{run.name}.log"
    with log.open("a") as file:
        process = subprocess.run(  # noqa: S603 - our own module
            command, stdout=file, stderr=file, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False
        )
    if process.returncode:
        raise ConfigError(f"The run {run.name} ended with code {process.returncode}; its log is {log}.")


def read_curve(run: Path, arm: str, seed: int) -> Curve:
    """One run's figures from what it wrote."""
    rows = [json.loads(line) for line in (run / FILE).read_text().splitlines()]
    settings = json.loads((run / "config.json").read_text())["run"]
    truth = np.array([row["rewards"] for row in rows], float).reshape(len(rows), -1, settings["evaluate_group"])
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return Curve(
        arm,
        seed,
        tuple(row["epoch"] for row in rows),
        truth,
        judge=tuple(_column(metrics, "reward")),
        diversity=tuple(_column(metrics, "held_out_diversity")),
        seconds=max((row["seconds"] for row in metrics), default=0.0),
    )


def _column(metrics: Sequence[dict[str, Any]], name: str) -> list[float]:
    return [row[name] for row in metrics if name in row]
