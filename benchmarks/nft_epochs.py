"""Whole epochs, ours against the published order: sampling, judging, optimising, from the same start.

The judge is the miniature's oracle behind a wait, as a judge on another machine is: `WAIT` seconds for every picture,
one after the other, without work for this machine's processor. The published loop waits for all of them; ours samples
and judges at the same time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.nft_published import published_epoch
from rationalrewards_core.judged import Case, ScoreBatch
from rationalrewards_core.replies.parsing import Mode
from training.nft.config import NFTConfig, changed
from training.nft.presets import miniature_cpu
from training.nft.train import train_epoch
from training.nft.trainer import NFTTrainer, make_trainer
from training.rewards.oracle import OracleJudge

WAIT = 0.05


class RemoteOracle(OracleJudge):
    """The oracle as a judge elsewhere: one picture at a time."""

    def __init__(self) -> None:
        self._busy = asyncio.Lock()

    async def score_many(self, cases: Sequence[Case], mode: Mode = "critique") -> ScoreBatch:
        async with self._busy:
            await asyncio.sleep(WAIT * len(cases))
            return await super().score_many(cases, mode)


@dataclass
class LoopTimes:
    """One of the two loops, and what its epochs took."""

    trainer: NFTTrainer
    clock: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)

    def turn(self, folder: Path | None) -> None:
        """One epoch: ours where there is a folder for its records, else the published one."""
        started, computing = time.perf_counter(), time.process_time()
        if folder is None:
            reward = float(published_epoch(self.trainer).mean())
        else:
            reward = train_epoch(self.trainer, folder)["reward"]
        self.clock.append(time.perf_counter() - started)
        self.processor.append(time.process_time() - computing)
        self.rewards.append(reward)

    def weights(self) -> list[Tensor]:
        return [parameter.detach().clone() for parameter in self.trainer.policy.parameters]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Means over the epochs."""

    published: LoopTimes
    ours: LoopTimes
    rewards: float
    """Largest difference between the two sides' mean rewards of an epoch."""
    weights: float
    """How far the trained weights lie apart in the end, relative to how far they moved."""


def epoch_config(decay: str, precision: str = "fp32") -> NFTConfig:
    table: dict[str, Any] = {
        "model": {"precision": precision},
        "rollout": {"prompts": 4, "group": 6, "steps": 6, "batch": 6},
        "rewards": {"judge": "oracle", "held_out_judge": ""},
        "times": {"count": 3},
        "policy": {"old_decay": decay},
        "optimiser": {"updates": 1, "micro_batch": 18},
        "loss": {"kl_weight": 1e-2},
        "run": {"audit_every": 0},
    }
    return changed(miniature_cpu(), table)


def trainer(config: NFTConfig) -> NFTTrainer:
    return make_trainer(config, RemoteOracle())


def compared(config: NFTConfig, folder: Path, epochs: int) -> Compared:
    """Epoch by epoch in turn, so that a busy machine disturbs both alike."""
    published, ours = LoopTimes(trainer(config)), LoopTimes(trainer(config))
    before = ours.weights()
    try:
        for _ in range(epochs):
            published.turn(None)
            ours.turn(folder)
    finally:
        published.trainer.close()
        ours.trainer.close()
    return Compared(
        published=published,
        ours=ours,
        rewards=max(abs(a - b) for a, b in zip(published.rewards, ours.rewards, strict=True)),
        weights=_distance(published.weights(), ours.weights()) / _distance(before, ours.weights()),
    )


def _distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    squares = [(a - b).double().square().sum() for a, b in zip(first, second, strict=True)]
    return float(torch.stack(squares).sum().sqrt())
