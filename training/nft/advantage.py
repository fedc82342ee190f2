"""Rewards of groups -> advantages. Unscored rollouts take no part in any mean, deviation or loss.

`P` prompts, `G` rollouts of each, `D` dimensions of the rubric. Masks say what counts; a masked place holds no number
that anything reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rationalrewards_core.errors import ConfigError

Scale = Literal["global_std", "group_std", "centred_std", "none"]
AdvantageMode = Literal["all", "positive_only", "negative_only", "one_only", "binary"]
SMALL = 1e-4
"""Added to every deviation that divides, as in the published loss."""


@dataclass(frozen=True, kw_only=True)
class AdvantageConfig:
    """From rewards to advantages."""

    scale: Scale = "global_std"
    """What a centred reward is divided by: the deviation of all rewards of the epoch (published), of the reward's own
    group, of all centred rewards, or nothing (centre only)."""
    std_floor: float = 0.0
    """Least divisor: keeps a judge's rounding from being amplified when all rewards are close."""
    clip: float = 5.0
    """c: advantages are clipped to [-c, c]; c times `mix_beta` is also the pull towards the old policy."""
    mode: AdvantageMode = "all"
    """`all`, or a part: `positive_only`, `negative_only`, `one_only` (1 where positive), `binary` (the sign)."""
    min_group_std: float = 1e-6
    """Groups whose own deviation is not above this are dropped: they say nothing about better and worse."""
    max_group_mean: float = 1.0
    """Groups whose mean reward is above this are dropped as solved (the RationalRewards runs use 0.9)."""
    per_dimension: bool = False
    """Normalise every dimension of the rubric within its group before mixing (GDPO, arXiv 2601.05242)."""

    def __post_init__(self) -> None:
        if self.clip <= 0:
            raise ConfigError(f"advantage.clip must be above 0, not {self.clip}.")
        for name, allowed_values in (("scale", Scale), ("mode", AdvantageMode)):
            if getattr(self, name) not in allowed_values.__args__:  # type: ignore[attr-defined]
                choices = ", ".join(allowed_values.__args__)  # type: ignore[attr-defined]
                raise ConfigError(f"advantage.{name} must be one of {choices}, not {getattr(self, name)!r}.")
        for name in ("std_floor", "min_group_std"):
            if getattr(self, name) < 0:
                raise ConfigError(f"advantage.{name} must not be negative, not {getattr(self, name)}.")


@dataclass(frozen=True)
class GroupRewards:
    """What the judge said about an epoch's rollouts."""

    rewards_P_G: Tensor
    """In [0, 1] where scored."""
    scored_P_G: Tensor
    """bool: whether there is a reward at all."""
    dimensions_P_G_D: Tensor
    """Each dimension's normalised score, where applicable."""
    applicable_P_G_D: Tensor
    """bool: scored, and not N/A."""
    weights_D: Tensor
    """The rubric's weights."""


@dataclass(frozen=True)
class GroupStatistics:
    """Of the scored rollouts of each group."""

    count_P: Tensor
    mean_P: Tensor
    """0 where a group has no scored rollout; `count_P` says so."""
    std_P: Tensor
    """Unbiased deviation (n - 1), so that groups with and without missing members compare; 0 below two."""


@dataclass(frozen=True)
class Advantages:
    """What the loss needs."""

    values_P_G: Tensor
    """Clipped to [-c, c]; 0 where unused."""
    used_P_G: Tensor
    """bool: scored, and in a group that was kept."""
    statistics: GroupStatistics
    kept_P: Tensor
    """bool: groups that were kept."""
    divisor: float
    """The epoch's divisor; the mean of the groups' where each has its own."""

    def part(self, numbers: range) -> Advantages:
        """The rows of these prompts."""
        rows, whole = slice(numbers.start, numbers.stop), self.statistics
        statistics = GroupStatistics(whole.count_P[rows], whole.mean_P[rows], whole.std_P[rows])
        return Advantages(self.values_P_G[rows], self.used_P_G[rows], statistics, self.kept_P[rows], self.divisor)


def group_statistics(values_P_G: Tensor, mask_P_G: Tensor) -> GroupStatistics:
    """Masked mean and unbiased deviation of every row."""
    counted = torch.where(mask_P_G, values_P_G, torch.zeros_like(values_P_G))
    count = mask_P_G.sum(dim=1)
    mean = counted.sum(dim=1) / count.clamp_min(1)
    centred = torch.where(mask_P_G, values_P_G - mean[:, None], torch.zeros_like(values_P_G))
    variance = centred.square().sum(dim=1) / (count - 1).clamp_min(1)
    # A sum of equal floats need not be their multiple: what is left by rounding is no spread.
    spread = torch.where(mask_P_G, values_P_G, mean[:, None])
    equal = spread.amax(dim=1) - spread.amin(dim=1) <= 1e-7
    std = torch.where(equal | (count < 2), torch.zeros_like(mean), variance.sqrt())
    return GroupStatistics(count, mean, std)


def advantages(rewards: GroupRewards, config: AdvantageConfig) -> Advantages:
    """Group-relative advantages; see `AdvantageConfig` for every choice.

    The default is the published rule: (R - mean of its group) / (population deviation of all rewards + 1e-4).
    """
    scored_P_G = rewards.scored_P_G
    statistics = group_statistics(rewards.rewards_P_G, scored_P_G)
    keep_P = (statistics.std_P > config.min_group_std) & (statistics.mean_P <= config.max_group_mean)
    used = scored_P_G & keep_P[:, None]
    if config.per_dimension:
        raw = _mixed_dimensions(rewards)
        centred, divisors = raw, _divisors(raw, scored_P_G, group_statistics(raw, scored_P_G), config)
    else:
        centred = rewards.rewards_P_G - statistics.mean_P[:, None]
        divisors = _divisors(rewards.rewards_P_G, scored_P_G, statistics, config)
    values = _shaped((centred / divisors[:, None]).clamp(-config.clip, config.clip), config)
    values = torch.where(used, values, torch.zeros_like(values))
    return Advantages(values, used, statistics, keep_P, float(divisors.mean()) if len(divisors) else 0.0)


def _divisors(values_P_G: Tensor, scored_P_G: Tensor, statistics: GroupStatistics, config: AdvantageConfig) -> Tensor:
    """What each group's centred rewards are divided by, `[P]`."""
    ones = torch.ones_like(statistics.mean_P)
    if config.scale == "none":
        return ones
    if config.scale == "group_std":
        return statistics.std_P.clamp_min(config.std_floor) + SMALL
    every = values_P_G - statistics.mean_P[:, None] if config.scale == "centred_std" else values_P_G
    values = every[scored_P_G]
    deviation = float(values.std(correction=0)) if len(values) else 0.0
    return ones * (max(deviation, config.std_floor) + SMALL)


def _mixed_dimensions(rewards: GroupRewards) -> Tensor:
    """Weighted sum over dimensions of each one's within-group normalised score; N/A adds nothing. `[P G]`"""
    mixed = torch.zeros_like(rewards.rewards_P_G)
    weight = torch.zeros_like(mixed)
    for d, share in enumerate(rewards.weights_D):
        values, mask = rewards.dimensions_P_G_D[..., d], rewards.applicable_P_G_D[..., d]
        statistics = group_statistics(values, mask)
        normal = (values - statistics.mean_P[:, None]) / (statistics.std_P[:, None] + SMALL)
        mixed = mixed + torch.where(mask, share * normal, torch.zeros_like(normal))
        weight = weight + share * mask
    return mixed / weight.clamp_min(1e-8)


def _shaped(values: Tensor, config: AdvantageConfig) -> Tensor:
    if config.mode == "positive_only":
        return values.clamp_min(0.0)
    if config.mode == "negative_only":
        return values.clamp_max(0.0)
    if config.mode == "one_only":
        return (values > 0).to(values.dtype)
    if config.mode == "binary":
        return values.sign()
    return values
