"""Which times and which noise each rollout is trained at, drawn from seeds alone.

Nothing here keeps a state: the same (seed, epoch, prompt, rollout) gives the same numbers in any process, at any
world size, before and after a resume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from rationalrewards_core.errors import ConfigError

TimeSource = Literal["schedule", "stratified"]


@dataclass(frozen=True, kw_only=True)
class TimesConfig:
    """Training times and noise."""

    source: TimeSource = "schedule"
    """`schedule`: the times the rollout was sampled at, in random order (published); `stratified`: one uniform draw
    from each of `count` equal parts of 0..1 (arXiv 2604.23380)."""
    share: float = 0.99
    """Share of the rollout's times that are used, rounded down: 0.99 of 10 steps are 9."""
    count: int = 0
    """Times per rollout and epoch; 0 takes all that `share` allows."""
    shared_in_group: bool = False
    """Give all rollouts of a group the same times and noise, so that their losses differ by their quality alone
    (arXiv 2604.23380)."""

    def __post_init__(self) -> None:
        if self.source not in ("schedule", "stratified"):
            raise ConfigError(f"times.source must be 'schedule' or 'stratified', not {self.source!r}.")
        if not 0.0 < self.share <= 1.0:
            raise ConfigError(f"times.share must be above 0 and at most 1, not {self.share}.")
        if self.count < 0 or (self.source == "stratified" and self.count == 0):
            raise ConfigError("times.count must be at least 1 for stratified times, and not negative.")


PURPOSES = ("start", "times", "noise", "order", "prompts", "dropped")
"""A purpose's place is part of its seed: new ones go last."""


def seeded(purpose: str, *parts: int) -> torch.Generator:
    """A CPU generator that depends on nothing but its arguments."""
    entropy = [PURPOSES.index(purpose), *parts]
    state = np.random.SeedSequence(entropy).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 ^ int(state[1]))


def times_per_rollout(config: TimesConfig, steps: int) -> int:
    """How many times each rollout is trained at, N."""
    allowed = max(1, int(steps * config.share + 1e-9))
    if config.source == "stratified":
        return config.count
    return min(config.count, allowed) if config.count else allowed


def training_times(config: TimesConfig, schedule_T: Tensor, generator: torch.Generator) -> Tensor:
    """Times of one rollout, `[N]` in [0, 1]; `schedule_T` are the times it was sampled at."""
    count = times_per_rollout(config, len(schedule_T))
    if config.source == "stratified":
        return (torch.arange(count) + torch.rand(count, generator=generator)) / count
    return schedule_T[torch.randperm(len(schedule_T), generator=generator)[:count]]


def plan_times(
    config: TimesConfig, schedule_T: Tensor, seed: int, epoch: int, prompts: Sequence[int], group: int
) -> Tensor:
    """Times of the prompts with these numbers, `[P G N]`."""
    members = [0] * group if config.shared_in_group else list(range(group))
    rows = [
        torch.stack([training_times(config, schedule_T, seeded("times", seed, epoch, p, g)) for g in members])
        for p in prompts
    ]
    return torch.stack(rows)


def training_noise(
    config: TimesConfig, shape: tuple[int, ...], seed: int, epoch: int, prompt: int, member: int, number: int
) -> Tensor:
    """Noise of one rollout at its time number `number`, of the latent's `shape`."""
    index = 0 if config.shared_in_group else member
    return torch.randn(shape, generator=seeded("noise", seed, epoch, prompt, index, number))
