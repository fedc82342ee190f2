"""Stable Diffusion 3 and 3.5: two CLIP encoders, T5 where the pipeline has one; latents `[B C H W]`."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor

from rationalrewards_core.messages import UserRequest

from .base import Conditioning, ModelFamily


class StableDiffusion3(ModelFamily):
    pipeline_class = "StableDiffusion3Pipeline"
    transformer_class = "SD3Transformer2DModel"
    text_encoders = ("text_encoder", "text_encoder_2", "text_encoder_3")
    guides = True

    def multiple_of(self) -> int:
        return int(self.pipeline.vae_scale_factor * self.pipeline.transformer.config.patch_size)

    def latent_shape(self) -> tuple[int, ...]:
        factor = self.pipeline.vae_scale_factor
        channels = self.transformer.config.in_channels
        return (channels, self.config.height // factor, self.config.width // factor)

    def text_length(self) -> int:
        """T5 tokens; the published runs use 256."""
        return self.config.text_length or 256

    def encode(self, request: UserRequest) -> Conditioning:
        return self._encoded(request.text)

    def encode_dropped(self) -> Conditioning:
        return self._encoded("")

    @torch.no_grad()
    def _encoded(self, text: str) -> Conditioning:
        tokens, _, pooled, _ = self.pipeline.encode_prompt(
            text,
            None,
            None,
            device=self.device,
            do_classifier_free_guidance=False,
            max_sequence_length=self.text_length(),
        )
        return {"tokens": tokens, "pooled": pooled}

    def velocity(self, model: Any, x_t_B: Tensor, t_B: Tensor, conditioning: Conditioning) -> Tensor:
        predicted: Tensor = model(
            hidden_states=x_t_B.to(self.dtype),
            timestep=1000.0 * t_B,
            encoder_hidden_states=conditioning["tokens"],
            pooled_projections=conditioning["pooled"],
            return_dict=False,
        )[0]
        return predicted.float()

    @torch.no_grad()
    def decode(self, x_0_B: Tensor) -> list[Image.Image]:
        vae = self.pipeline.vae
        latents = x_0_B.to(vae.dtype) / vae.config.scaling_factor + vae.config.shift_factor
        images: list[Image.Image] = self.pipeline.image_processor.postprocess(
            vae.decode(latents, return_dict=False)[0], output_type="pil"
        )
        return images

    def shift(self, steps: int) -> float | None:
        if not self.pipeline.scheduler.config.get("use_dynamic_shifting"):
            return None
        from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import calculate_shift

        _, height, width = self.latent_shape()
        settings = self.pipeline.scheduler.config
        patch = self.transformer.config.patch_size
        return float(
            calculate_shift(
                (height // patch) * (width // patch),
                settings.get("base_image_seq_len", 256),
                settings.get("max_image_seq_len", 4096),
                settings.get("base_shift", 0.5),
                settings.get("max_shift", 1.16),
            )
        )
