"""Muon for matrices, AdamW for the rest: what trained the miniature's models fastest on a CPU."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

NOT_MATRICES = ("embed", "lm_head", "pos", "head.", "norm")
"""Names of two-dimensional parameters that are tables, modulations or output heads and stay with AdamW."""


class MuonAdamW:
    """Two optimisers behind one `step`, with one learning-rate schedule.

    A linear warm-up, a cosine from 1 to a tenth over `horizon` steps (default: all of them) and, where a
    run ends before its horizon, a linear cool-down to a tenth of it over the last `cooldown` steps. So a
    run can be given more or fewer steps without its first ones changing.
    """

    def __init__(
        self,
        named_parameters: Iterable[tuple[str, nn.Parameter]],
        *,
        lr: float,
        steps: int,
        warmup: int = 200,
        horizon: int | None = None,
        cooldown: int = 0,
    ) -> None:
        parameters = [(n, p) for n, p in named_parameters if p.requires_grad]
        matrices = [p for n, p in parameters if p.ndim == 2 and not any(part in n for part in NOT_MATRICES)]
        matrix_ids = {id(p) for p in matrices}
        rest = [p for _, p in parameters if id(p) not in matrix_ids]
        self._optimisers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=lr, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        self._all = matrices + rest
        self._lr, self._steps, self._warmup = lr, steps, warmup
        self._horizon, self._cooldown = horizon or steps, cooldown

    def step(self, step: int, clip: float = 1.0) -> float:
        """Apply the gradients at `step` (0-based) and clear them; returns the gradient norm."""
        factor = self.factor(step)
        norm = float(nn.utils.clip_grad_norm_(self._all, clip))
        for optimiser in self._optimisers:
            for group in optimiser.param_groups:
                group["lr"] = self._lr * factor
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        return norm

    def factor(self, step: int) -> float:
        """The learning rate at `step` (0-based), as a share of the highest."""
        warm = min(1.0, (step + 1) / self._warmup)
        progress = min(1.0, step / self._horizon)
        cosine = 0.1 + 0.9 * 0.5 * (1.0 + float(torch.cos(torch.tensor(progress * torch.pi))))
        left = (self._steps - step) / self._cooldown if self._cooldown else 1.0
        return warm * cosine * (0.1 + 0.9 * min(1.0, max(0.0, left)))

    def state_dict(self) -> dict[str, Any]:
        return {"optimisers": [o.state_dict() for o in self._optimisers]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for optimiser, saved in zip(self._optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
