"""The miniature generator: a tiny Stable-Diffusion-3-type pipeline that draws the closed world.

The weights are an ordinary diffusers folder; this module only knows how to call it. torch and
diffusers are imported when it is loaded, never before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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

    def __init__(self, pipeline: Any, guidance: float = GUIDANCE) -> None:
        self._pipeline, self._guidance = pipeline, guidance

    @classmethod
    def load(cls, folder: Path, guidance: float = GUIDANCE) -> MiniatureGenerator:
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
        return cls(pipeline, guidance)

    def tune(self, lora: Path | None, strength: float = 1.0) -> None:
        """Draw with this LoRA file from now on, in place of any before; None, or strength 0, is the shipped generator.

        ConfigError when the file is not a LoRA of this generator.
        """
        self._pipeline.unload_lora_weights()
        if lora is None or strength == 0.0:
            return
        tensors = _read(lora)
        layers = dict(self._pipeline.transformer.named_modules())
        if not tensors or not all(_fits(layers, name, t) for name, t in tensors.items()):
            raise ConfigError(
                f"{lora.name} is no LoRA of the miniature generator; `python -m training.nft` with the family miniature "
                "makes one."
            )
        self._pipeline.load_lora_weights(tensors, adapter_name="tuned")
        self._pipeline.set_adapters(["tuned"], [strength])

    def generate(self, request: str, seed: int) -> Image.Image:
        """One picture; the same request and seed give the same picture."""
        return self.generate_many([request], [seed])[0]

    def generate_many(self, requests: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
        """A batch of pictures, one per request and seed."""
        return sample_pictures(self._pipeline, requests, seeds, self._guidance)


def sample_pictures(
    pipeline: Any, requests: Sequence[str], seeds: Sequence[int], guidance: float = GUIDANCE
) -> list[Image.Image]:
    """Draw one picture per request with any SD3-type `pipeline` of the miniature's size."""
    import torch

    pictures: list[Image.Image] = pipeline(
        list(requests),
        height=SIDE,
        width=SIDE,
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        max_sequence_length=0,  # there is no T5 encoder, so no room is kept for its tokens
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
    ).images
    return pictures


def _read(lora: Path) -> dict[str, Any]:
    """All tensors of a safetensors file; other kinds of file may run code when they are read."""
    try:
        import peft  # noqa: F401
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise ConfigError(
            "A LoRA needs peft and safetensors: pip install 'rationalrewards[local,training]'."
        ) from error
    try:
        weights: dict[str, Any] = load_file(lora)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{lora.name} cannot be read as a safetensors file: {error}") from error
    return weights


def _fits(layers: Mapping[str, Any], name: str, tensor: Any) -> bool:
    """Whether this tensor is a factor of an adapter on one of the transformer's linear layers."""
    match = re.fullmatch(r"transformer\.(.+)\.lora_([AB])\.weight", name)
    layer = layers.get(match[1]) if match else None
    if match is None or layer is None or not hasattr(layer, "in_features") or tensor.ndim != 2:
        return False
    return bool(tensor.shape[1] == layer.in_features if match[2] == "A" else tensor.shape[0] == layer.out_features)
