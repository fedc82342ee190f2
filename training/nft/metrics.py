"""Figures of an epoch: rewards and every dimension, spread, what was dropped, diversity, the optimiser's view."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rationalrewards_core.rubric import Rubric

from .advantage import Advantages, GroupRewards

BINS = 10
"""Of the histogram of r."""


def reward_figures(rewards: GroupRewards, advantages: Advantages, rubric: Rubric) -> dict[str, float]:
    """Means over what was scored; a figure without a single scored rollout is left out, never zero."""
    scored_P_G, statistics = rewards.scored_P_G, advantages.statistics
    table = {
        "unscored_share": 1.0 - _share(scored_P_G),
        "zero_std_share": _share(statistics.std_P <= 1e-6),
        "kept_groups": float(advantages.kept_P.sum()),
        "used_share": _share(advantages.used_P_G),
        "advantage_divisor": advantages.divisor,
    }
    if scored_P_G.any():
        table["reward"] = float(rewards.rewards_P_G[scored_P_G].mean())
        table["reward_std"] = float(rewards.rewards_P_G[scored_P_G].std(correction=0))
        table["group_std"] = float(statistics.std_P.mean())
    for d, dimension in enumerate(rubric.dimensions):
        mask = rewards.applicable_P_G_D[..., d]
        if mask.any():
            table[f"dimension_{dimension.key}"] = float(rewards.dimensions_P_G_D[..., d][mask].mean())
    return table


def failure_figures(reasons: Counter[str]) -> dict[str, float]:
    return {f"unscored_{reason}": float(count) for reason, count in sorted(reasons.items())}


def optimality_histogram(r_B: Tensor) -> dict[str, float]:
    """Share of used rollouts per tenth of r: with c = 5 nearly all lie between 0.4 and 0.6."""
    if not len(r_B):
        return {}
    counts = torch.histc(r_B.float(), BINS, 0.0, 1.0) / len(r_B)
    return {f"r_{i / BINS:.1f}": float(count) for i, count in enumerate(counts)}


def diversity(images: Sequence[Image.Image], group: int) -> float | None:
    """Mean root-mean-square pixel distance (0..1) between the pictures of a group at 32x32; None below two."""
    if group < 2 or not images:
        return None
    small = np.stack([np.asarray(i.convert("RGB").resize((32, 32)), np.float32) / 255.0 for i in images])
    grouped = small.reshape(-1, group, small[0].size)
    distances = [
        np.sqrt(np.square(members[a] - members[b]).mean())
        for members in grouped
        for a in range(group)
        for b in range(a + 1, group)
    ]
    return float(np.mean(distances))


@dataclass
class UpdateFigures:
    """Sums over the micro-batches of an epoch; the weight of each is how many pairs it held."""

    sums: dict[str, float] = field(default_factory=dict)
    pairs: int = 0

    def add(self, **values_B: Tensor) -> None:
        """Per-sample values `[B]` of one micro-batch."""
        for name, values in values_B.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(values.detach().sum())
        self.pairs += len(next(iter(values_B.values())))

    def means(self) -> dict[str, float]:
        return {name: value / max(1, self.pairs) for name, value in self.sums.items()}


def _share(mask: Tensor) -> float:
    return float(mask.float().mean()) if mask.numel() else 0.0
