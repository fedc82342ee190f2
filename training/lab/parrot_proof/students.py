"""Students and scalar heads of the proof: one base, one kind of adapter, one setting for all arms."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch

from ...sft.config import SftConfig
from ...sft.config import miniature as miniature_preset
from ...sft.scalar import ScalarConfig, ScalarTrainer
from ...sft.trainer import SftTrainer
from .data import subset
from .options import ParrotProofOptions


def setting(options: ParrotProofOptions, out: Path, export: Path, lr: float, steps: int) -> SftConfig:
    """What students and heads share: base, adapter, development."""
    return replace(
        miniature_preset(),
        model=str(out / "base" / "checkpoint"),
        export=str(export),
        autocast=True,
        lora_rank=options.rank,
        lora_alpha=2 * options.rank,
        epochs=1e6,
        max_steps=steps,
        batch=options.batch,
        micro_batch=options.batch,
        lr=lr,
        evaluate_every=steps // options.measurements,
        dev_pairs=options.dev_pairs,
        dev_batch=32,
        patience=options.patience,
        save_every=steps // options.measurements,
        log_every=10,
        seed=options.seed,
    )


def train_student(options: ParrotProofOptions, out: Path, arm: str, size: int, lr: float) -> None:
    torch.set_num_threads(1)
    export = subset(out / "exports" / arm, size, out / "subsets" / f"{arm}-{size}")
    config = setting(options, out, export, lr, options.steps)
    SftTrainer(config, student_run(out, arm, size, lr)).train()


def train_head(options: ParrotProofOptions, out: Path, size: int, lr: float) -> None:
    """The head sees all that people chose, kept by the filter or not, wrong votes included."""
    torch.set_num_threads(1)
    export = subset(out / "exports" / "filtered", size, out / "subsets" / f"filtered-{size}")
    config = ScalarConfig(sft=setting(options, out, export, lr, options.head_steps))
    ScalarTrainer(config, head_run(out, size, lr)).train()


def student_run(out: Path, arm: str, size: int, lr: float) -> Path:
    return out / "students" / f"{arm}-{size}-lr{lr:g}"


def head_run(out: Path, size: int, lr: float) -> Path:
    return out / "heads" / f"scalar-{size}-lr{lr:g}"


def dev_figures(options: ParrotProofOptions, out: Path) -> dict[str, dict[str, float]]:
    """Best development accuracy at the size where learning rates are tried, for `students` and `heads`."""
    size = options.tuned_at
    students = {f"{lr:g}": _student_best(student_run(out, "filtered", size, lr)) for lr in options.lrs}
    heads = {f"{lr:g}": _head_best(head_run(out, size, lr)) for lr in options.head_lrs}
    return {"students": students, "heads": heads}


def chosen_lr(options: ParrotProofOptions, out: Path) -> float:
    """The students' learning rate; the smaller of equals."""
    size = options.tuned_at
    return max(sorted(options.lrs), key=lambda lr: _student_best(student_run(out, "filtered", size, lr)))


def chosen_head_lr(options: ParrotProofOptions, out: Path) -> float:
    return max(sorted(options.head_lrs), key=lambda lr: _head_best(head_run(out, options.tuned_at, lr)))


def _student_best(run: Path) -> float:
    note = json.loads((run / "adapter" / "training.json").read_text(encoding="utf-8"))
    return max(float(one["pair_accuracy"]) for one in note["development"])


def _head_best(run: Path) -> float:
    return float(json.loads((run / "head" / "training.json").read_text(encoding="utf-8"))["best"])
