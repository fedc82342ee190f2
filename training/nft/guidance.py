"""Classifier-free guidance (arXiv 2207.12598), in the convention where 1 is the conditional model alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .families.base import Conditioning, ModelFamily, joined
from .timesteps import seeded


def guided(v_caption_B: Tensor, v_dropped_B: Tensor, scale: float) -> Tensor:
    """v_dropped + g (v_caption - v_dropped): Eq. 6 of 2207.12598 with 1 + w = g, for velocities."""
    return v_dropped_B + scale * (v_caption_B - v_dropped_B)


def guided_velocity(
    family: ModelFamily,
    model: Any,
    x_t_B: Tensor,
    t_B: Tensor,
    conditioning: Conditioning,
    dropped: Conditioning | None,
    scale: float,
) -> Tensor:
    """The family's velocity `[B ...]` under guidance, both halves in one pass; `dropped` is what stands for no caption.

    With a scale of 1 it is the conditional velocity, and nothing else is computed.
    """
    if scale == 1.0:
        return family.velocity(model, x_t_B, t_B, conditioning)
    assert dropped is not None, "guidance needs the conditioning without captions"
    both = joined([conditioning, dropped], x_t_B.device)
    v_caption, v_dropped = family.velocity(model, torch.cat([x_t_B, x_t_B]), torch.cat([t_B, t_B]), both).chunk(2)
    return guided(v_caption, v_dropped, scale)


def without_caption(share: float, seed: int, epoch: int, pairs: Sequence[tuple[int, int, int]]) -> Tensor:
    """Which of these (prompt, member, time) are trained without their caption, bool `[B]` (2207.12598, Alg. 1).

    Drawn from the numbers alone, so that the same pair is dropped in any batch and process.
    """
    shares = [torch.rand((), generator=seeded("dropped", seed, epoch, *pair)) for pair in pairs]
    return torch.stack(shares) < share


def replaced(conditioning: Conditioning, dropped: Conditioning, without_B: Tensor) -> Conditioning:
    """`conditioning`, with the rows of `dropped` where `without_B`; both `[B ...]`."""
    rows = [
        {name: t[i : i + 1] for name, t in (dropped if drop else conditioning).items()}
        for i, drop in enumerate(without_B)
    ]
    return joined(rows, without_B.device)
