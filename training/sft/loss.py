"""Cross-entropy over the answers alone, and the learning rate's schedule."""

from __future__ import annotations

import math
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .encoding import IGNORED


class AnswerLoss(nn.Module):
    """The model with its loss as one module, so that DDP and FSDP see the whole of it in one `forward`.

    Logits are computed at the places that predict an answer's token and nowhere else: a prompt is most of an
    example, and a vocabulary of 152,000 makes its logits the largest thing in memory.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: dict[str, Tensor], labels: Tensor) -> Tensor:
        """Sum over the batch's answer tokens, in nats; the caller divides by their number in the whole step."""
        hidden = self.model.model(**inputs, use_cache=False).last_hidden_state
        following = labels[:, 1:]
        predicting = following != IGNORED
        logits = self.model.lm_head(hidden[:, :-1][predicting])
        return F.cross_entropy(logits.float(), following[predicting], reduction="sum")


def lr_factor(step: int, steps: int, warmup: float) -> float:
    """The learning rate at `step` (0-based) as a share of the highest: linear warm-up, then a cosine to zero."""
    warm = max(1, round(steps * warmup))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
