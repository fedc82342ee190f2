"""The shipped miniature generator: an SD3-type pipeline without T5, on the CPU."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from rationalrewards_core.miniature import generator_folder
from rationalrewards_core.miniature.generator import MiniatureGenerator

from ..config import ModelConfig
from .base import Conditioning
from .sd3 import StableDiffusion3


class Miniature(StableDiffusion3):
    text_encoders = ("text_encoder", "text_encoder_2")
    token_pixels = 8
    text_tokens = 32

    @classmethod
    def load(cls, config: ModelConfig) -> Miniature:
        """The shipped weights, or the folder that the configuration names."""
        folder = Path(config.pipeline) if config.pipeline else generator_folder()
        return cls(MiniatureGenerator.load(folder)._pipeline, config)

    @property
    def dtype(self) -> torch.dtype:
        """The weights stay fp32; `model.precision = "bf16"` computes in bf16 by autocast, faster on a CPU that has bf16."""
        return torch.float32

    def text_length(self) -> int:
        return 0  # there is no T5 encoder, so no room is kept for its tokens

    def velocity(self, model: Any, x_t_B: Tensor, t_B: Tensor, conditioning: Conditioning) -> Tensor:
        # In bf16 the plain attention kernel: for short sequences it is faster on a CPU than the fused one. With
        # checkpointing, the backward pass recomputes outside this context, and so both must take the default kernel.
        bf16 = self.config.precision == "bf16"
        plain = sdpa_kernel(SDPBackend.MATH) if bf16 and not self.config.gradient_checkpointing else nullcontext()
        fast = torch.autocast(x_t_B.device.type, torch.bfloat16, enabled=bf16)
        with plain, fast:
            return super().velocity(model, x_t_B, t_B, conditioning)
