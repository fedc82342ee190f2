"""Fine-tuning steps of the miniature, side by side: every part as it is, against reading and seeing every picture anew.

    python -m benchmarks.sft_steps --epochs 3 --json out/sft_steps.json

Both sides train the same adapter on the same batches, step by step in turn, so that a busy machine disturbs both alike.
Seconds are CPU seconds of this process (set OMP_NUM_THREADS=1). The first epoch of a run fills the memory of the tower,
later ones live from it; both are shown.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from tests.training.sft.exports import write_export
from training.sft.config import miniature
from training.sft.trainer import SftTrainer

PARTS = ("reading", "tower", "forward", "backward", "optimiser")
STEPS_AN_EPOCH = 4


@dataclass
class StepTimes:
    """One trainer, and what the parts of its steps took: one row per step, CPU seconds."""

    trainer: SftTrainer
    rows: list[dict[str, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._batches = self.trainer._batches()
        self._row: dict[str, float] = {}
        tower = self.trainer.trainee.model.model.visual
        forward = tower.forward

        def timed(*arguments: Any, **options: Any) -> Any:
            with self._part("tower"):
                return forward(*arguments, **options)

        tower.forward = timed

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        started = time.process_time()
        try:
            yield
        finally:
            self._row[name] = self._row.get(name, 0.0) + time.process_time() - started

    def step(self) -> None:
        """The trainer's own step, part by part."""
        trainer, self._row = self.trainer, dict.fromkeys(PARTS, 0.0)
        with self._part("reading"):
            parts = next(self._batches)
        tokens, total = sum(part.answer_tokens for part in parts), 0.0
        for part in parts:
            with self._part("forward"), nullcontext() if trainer.tower is None else trainer.tower.of(part):
                loss = trainer.module(part.inputs, part.labels)
            with self._part("backward"):
                (loss / tokens).backward()
            total += float(loss.detach()) / tokens
        with self._part("optimiser"):
            torch.nn.utils.clip_grad_norm_(trainer.trained, trainer.config.clip)
            trainer.optimiser.step()
            trainer.optimiser.zero_grad(set_to_none=True)
        self._row["forward"] -= self._row["tower"]
        self.rows.append(self._row)
        self.losses.append(total)


def plain(trainer: SftTrainer) -> SftTrainer:
    """With peft's own forward in every adapted layer."""
    for module in trainer.trainee.model.modules():
        if hasattr(module, "lora_A"):
            vars(module).pop("forward", None)
    return trainer


def compared(folder: Path, epochs: int, changes: dict[str, Any]) -> tuple[StepTimes, StepTimes]:
    """Before and after, having done the same steps."""
    config = replace(miniature(), evaluate_every=0, epochs=1e6, max_steps=epochs * STEPS_AN_EPOCH)
    export = write_export(folder / "export", train=STEPS_AN_EPOCH * config.batch, dev_pairs=1)
    config = replace(config, export=str(export))
    after = StepTimes(SftTrainer(replace(config, **changes), folder / "after"))
    before = StepTimes(
        plain(SftTrainer(replace(config, tower_memory=0.0, micro_batch=config.batch), folder / "before"))
    )
    for _ in range(config.max_steps):
        before.step()
        after.step()
    return before, after


def figures(before: StepTimes, after: StepTimes) -> dict[str, Any]:
    """Milliseconds of CPU per step and part (medians), steps per CPU minute, and how far the losses lie apart."""
    table: dict[str, Any] = {}
    spans = {"first_epoch": slice(0, STEPS_AN_EPOCH), "later_epochs": slice(STEPS_AN_EPOCH, None)}
    for name, span in spans.items():
        sides = {}
        for label, side in (("before", before), ("after", after)):
            rows = side.rows[span]
            whole = median(sum(row.values()) for row in rows)
            parts = {part: round(1e3 * median(row[part] for row in rows), 1) for part in PARTS}
            sides[label] = {**parts, "step": round(1e3 * whole, 1), "steps_a_minute": round(60 / whole, 1)}
        ratio = sides["after"]["steps_a_minute"] / sides["before"]["steps_a_minute"]
        table[name] = {**sides, "steps_over_before": round(ratio, 2)}
    table["loss_difference"] = max(abs(a - b) for a, b in zip(before.losses, after.losses, strict=True))
    return table


def table(figures: dict[str, Any]) -> str:
    lines = [f"| | {' | '.join(PARTS)} | step, ms | steps a minute |", "| --- |" + " --- |" * (len(PARTS) + 2)]
    for span in ("first_epoch", "later_epochs"):
        for label in ("before", "after"):
            row = figures[span][label]
            cells = [f"{row[part]:.0f}" for part in (*PARTS, "step")]
            lines.append(f"| {span.replace('_', ' ')}, {label} | {' | '.join(cells)} | {row['steps_a_minute']:.1f} |")
    ratios = ", ".join(
        f"{figures[span]['steps_over_before']:.2f} in {span.replace('_', ' ')}" for span in figures if "_e" in span
    )
    return "\n".join([*lines, f"steps over before: {ratios}; losses differ by {figures['loss_difference']:.1e}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=3, help=f"of {STEPS_AN_EPOCH} steps each")
    parser.add_argument("--micro-batch", type=int, default=miniature().micro_batch, help="of the side `after`")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    changes = {"micro_batch": arguments.micro_batch}
    with tempfile.TemporaryDirectory() as folder:
        medians = figures(*compared(Path(folder), arguments.epochs, changes))
    print(table(medians))
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(medians, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
