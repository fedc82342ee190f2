"""The miniature generator: a tiny Stable-Diffusion-3-type pipeline that draws the closed world.

The weights are an ordinary diffusers folder; this module only knows how to call it. torch and
diffusers are imported when it is loaded, never before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from PIL import Image

from ..errors import ConfigError
from .world import SIDE

STEPS: Final = 12
"""Euler steps."""
GUIDANCE: Final = 3.0
"""Classifier-free guidance; 1 is off."""


class MiniatureGenerator:
    """Draws 48x48 pictures from requests of the miniature world, reproducibly from a seed."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    @classmethod
    def load(cls, folder: Path) -> MiniatureGenerator:
        """Load a diffusers folder; ConfigError when the packages for it are missing."""
        try:
            import torch
            from diffusers import StableDiffusion3Pipeline
        except ImportError as error:
            raise ConfigError(
                "The miniature generator needs torch, transformers and diffusers: pip install 'rationalrewards[local,training]'."
            ) from error
        pipeline = StableDiffusion3Pipeline.from_pretrained(
            folder, text_encoder_3=None, tokenizer_3=None, local_files_only=True
        )
        # Parts are loaded in whatever precision their library prefers; the pipeline needs one.
        pipeline.to(dtype=torch.float32)
        pipeline.set_progress_bar_config(disable=True)
        return cls(pipeline)

    def generate(self, request: str, seed: int) -> Image.Image:
        """One picture; the same request and seed give the same picture."""
        return sample_pictures(self._pipeline, [request], [seed])[0]

    def generate_many(self, requests: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
        """A batch of pictures, one per request and seed."""
        return sample_pictures(self._pipeline, requests, seeds)


def sample_pictures(pipeline: Any, requests: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
    """Draw one picture per request with any SD3-type `pipeline` of the miniature's size."""
    import torch

    pictures: list[Image.Image] = pipeline(
        list(requests),
        height=SIDE,
        width=SIDE,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        max_sequence_length=0,  # there is no T5 encoder, so no room is kept for its tokens
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
    ).images
    return pictures
