"""What an epoch of the miniature's NFT run costs, by part: sampling, judging, optimising.

    python -m benchmarks.nft_epoch_cost --prompts 4 --epochs 2 --json out/nft_epoch_cost.json

Two sides in turn, in one process: everything in bf16, as the preset was until `auto`, and the preset as it is. Seconds
are CPU seconds (set OMP_NUM_THREADS=1); the judge's are those of its own threads, for it works while the main one samples.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import training.nft.train as loop
from benchmarks.timing import table
from training.nft.config import NFTConfig, changed
from training.nft.presets import miniature_cpu
from training.nft.trainer import NFTTrainer, make_trainer

PARTS = ("sampling", "judge", "optimising", "rest")
BEFORE: dict[str, Any] = {"model": {"precision": "bf16"}, "rewards": {"precision": "bf16"}}


@dataclass
class TrainerCost:
    """One trainer and its epochs: CPU seconds by part."""

    trainer: NFTTrainer
    rows: list[dict[str, float]] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)

    def epoch(self, folder: Path) -> None:
        row = dict.fromkeys(PARTS, 0.0)
        sampled, optimised = loop._rollouts, loop.optimise

        def timed(part: str, work: Callable[..., Any]) -> Callable[..., Any]:
            def run(*arguments: Any) -> Any:
                started = time.thread_time()
                try:
                    return work(*arguments)
                finally:
                    row[part] += time.thread_time() - started

            return run

        loop._rollouts, loop.optimise = timed("sampling", sampled), timed("optimising", optimised)
        everything, main = time.process_time(), time.thread_time()
        try:
            self.rewards.append(loop.train_epoch(self.trainer, folder)["reward"])
        finally:
            loop._rollouts, loop.optimise = sampled, optimised
        main = time.thread_time() - main
        row["judge"] = time.process_time() - everything - main
        row["rest"] = main - row["sampling"] - row["optimising"]
        self.rows.append(row)

    def medians(self) -> dict[str, float]:
        table = {part: round(median(row[part] for row in self.rows), 2) for part in PARTS}
        return {**table, "epoch": round(median(sum(row.values()) for row in self.rows), 2)}


def epoch_config(prompts: int, changes: dict[str, Any]) -> NFTConfig:
    """The preset with fewer prompts an epoch."""
    group = miniature_cpu().rollout.group
    small = {"rollout": {"prompts": prompts, "batch": min(48, prompts * group)}, "run": {"audit_every": 0}}
    return changed(changed(miniature_cpu(), small), changes)


def compared(prompts: int, epochs: int) -> dict[str, Any]:
    sides = {name: TrainerCost(make_trainer(epoch_config(prompts, changes))) for name, changes in _SIDES.items()}
    with tempfile.TemporaryDirectory() as folder:
        try:
            # The first epoch of each side loads its judge and warms up.
            for _ in range(epochs + 1):
                for name, side in sides.items():
                    (Path(folder) / name).mkdir(exist_ok=True)
                    side.epoch(Path(folder) / name)
        finally:
            for side in sides.values():
                side.trainer.close()
    for side in sides.values():
        side.rows.pop(0)
    table: dict[str, Any] = {name: {**side.medians(), "rewards": side.rewards} for name, side in sides.items()}
    table["epoch_over_before"] = round(table["after"]["epoch"] / table["before"]["epoch"], 3)
    return table


_SIDES: dict[str, dict[str, Any]] = {"before": BEFORE, "after": {}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=12, help="of an epoch, eight pictures each (the preset's: 12)")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures = compared(arguments.prompts, arguments.epochs)
    heads = [f"CPU seconds, {8 * arguments.prompts} pictures", *PARTS, "epoch"]
    print(table(heads, [[name, *(figures[name][part] for part in (*PARTS, "epoch"))] for name in _SIDES]))
    print(f"\nepoch over before: {figures['epoch_over_before']}")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
