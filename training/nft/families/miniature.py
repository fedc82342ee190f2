"""The shipped miniature generator: an SD3-type pipeline without T5, on the CPU."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from rationalrewards_core.miniature import generator_folder
from rationalrewards_core.miniature.generator import MiniatureGenerator
from training.nft.config import ModelConfig
from training.nft.families.base import Conditioning
from training.nft.families.sd3 import StableDiffusion3


class Miniature(StableDiffusion3):
    text_encoders = ("text_encoder", "text_encoder_2")

    @classmethod
    def load(cls, config: ModelConfig) -> Miniature:
        """The shipped weights, or the folder that the configuration names."""
        from pathlib import Path

        folder = Path(config.pipeline) if config.pipeline else generator_folder()
        pipeline = MiniatureGenerator.load(folder)._pipeline
        return cls(pipeline, replace(config, precision="fp32"))

    def text_length(self) -> int:
        return 0  # there is no T5 encoder, so no room is kept for its tokens

    def velocity(self, model: Any, x_t_B: Tensor, t_B: Tensor, conditioning: Conditioning) -> Tensor:
        # The plain attention kernel: for short sequences it is faster on a CPU than the fused one.
        with sdpa_kernel(SDPBackend.MATH):
            return super().velocity(model, x_t_B, t_B, conditioning)
