"""The strongest scalar rival: a Bradley-Terry head on the shipped scorer's own backbone.

It starts with everything the scorer has learnt by critiquing and is told nothing but which picture is better. What is
between it and the scorer is the answer: one number at the end of the prompt, or words and scores.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from rationalrewards_core.comparison import Verdict
from rationalrewards_core.images import png_bytes
from rationalrewards_core.miniature import generator_folder
from rationalrewards_core.miniature.generator import MiniatureGenerator

from ...data.labelled_pairs import LabelledPair, write_pairs
from ...data.pairs import PreferencePair
from ...data.store import ImageStore
from ...rewards.rendered_preferences import Preference, drawn_preferences, rendered_preferences
from ...sft.config import SftConfig, miniature
from ...sft.scalar import ScalarConfig, ScalarTrainer

SEED = 8
BATCH = 16
"""Pairs per step."""


def run_folder(folder: Path, seed: int) -> Path:
    """Of the run with this seed, beside what all seeds learn from."""
    return folder / (f"run-{seed}" if seed else "run")


def train_head(folder: Path, *, pairs: int, drawn_requests: int, steps: int, seed: int = 0) -> Path:
    """Preferences into `folder/pairs`, a run into the seed's folder beside it; returns the finished head's. Resumes.

    The seed is the training's; pairs and pictures are the same for all of them.
    """
    head = run_folder(folder, seed) / "head"
    if (head / "head.safetensors").is_file():
        return head
    export = folder / "pairs"
    if not (export / "pairs.jsonl").is_file():
        write_preferences(export, _taught(pairs, drawn_requests), rendered_preferences(_rng(2), max(16, pairs // 40)))
    quarter = max(1, steps // 4)
    config = replace(
        setting(export, steps, BATCH),
        evaluate_every=quarter,
        save_every=quarter,
        dev_pairs=max(16, pairs // 40),
        seed=seed,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return ScalarTrainer(ScalarConfig(sft=config), run_folder(folder, seed)).train()
    finally:
        torch.set_num_threads(threads)


def setting(export: Path, steps: int, batch: int) -> SftConfig:
    """How the shipped scorer is tuned for a number of steps, whatever is measured on the way."""
    return replace(
        miniature(),
        export=str(export),
        autocast=True,
        lora_rank=32,
        lora_alpha=64,
        epochs=1e6,
        max_steps=steps,
        batch=batch,
        micro_batch=batch,
        patience=0,
        log_every=10,
    )


def _rng(part: int) -> np.random.Generator:
    return np.random.default_rng([SEED, part])


def _taught(pairs: int, drawn_requests: int) -> list[Preference]:
    preferences = rendered_preferences(_rng(0), pairs)
    if drawn_requests:
        preferences += drawn_preferences(MiniatureGenerator.load(generator_folder()), _rng(1), drawn_requests)
    order = _rng(3).permutation(len(preferences))
    return [preferences[i] for i in order]


def write_preferences(folder: Path, train: Sequence[Preference], dev: Sequence[Preference]) -> None:
    """A folder of labelled pairs; it counts once its list is written, which is last."""
    shutil.rmtree(folder, ignore_errors=True)
    store = ImageStore(folder)
    labelled = []
    for split, preferences in (("train", train), ("dev", dev)):
        for preference in preferences:
            first, second = (store.add(png_bytes(picture)) for picture in preference.pictures)
            better = Verdict.A if preference.gap > 0 else Verdict.B
            pair = PreferencePair(
                request=preference.request, first=first, second=second, preference=better, origin="miniature"
            )
            labelled.append(LabelledPair(pair, split))
    write_pairs(labelled, folder)
