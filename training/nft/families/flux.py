"""FLUX.1: CLIP and T5, latents packed two by two `[B L C]`, guidance as an input of the distilled model."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor

from rationalrewards_core.messages import UserRequest

from .base import Conditioning, ModelFamily, even_times


class Flux(ModelFamily):
    pipeline_class = "FluxPipeline"
    transformer_class = "FluxTransformer2DModel"
    text_encoders = ("text_encoder", "text_encoder_2")
    text_tokens = 512

    def multiple_of(self) -> int:
        return int(self.pipeline.vae_scale_factor * 2)

    def grid(self) -> tuple[int, int]:
        """Rows and columns of image tokens."""
        multiple = self.multiple_of()
        return self.config.height // multiple, self.config.width // multiple

    def latent_shape(self) -> tuple[int, ...]:
        rows, columns = self.grid()
        return (rows * columns, self.transformer.config.in_channels)

    @torch.no_grad()
    def encode(self, request: UserRequest) -> Conditioning:
        tokens, pooled, _ = self.pipeline.encode_prompt(
            request.text, None, device=self.device, max_sequence_length=self.config.text_length or 512
        )
        return {"tokens": tokens, "pooled": pooled}

    def velocity(self, model: Any, x_t_B: Tensor, t_B: Tensor, conditioning: Conditioning) -> Tensor:
        predicted: Tensor = model(
            hidden_states=self.image_tokens(x_t_B.to(self.dtype), conditioning),
            timestep=t_B.to(self.dtype),
            guidance=self.guidance(len(x_t_B)),
            pooled_projections=conditioning["pooled"],
            encoder_hidden_states=conditioning["tokens"],
            txt_ids=torch.zeros(conditioning["tokens"].shape[1], 3, device=self.device, dtype=self.dtype),
            img_ids=self.image_ids(),
            return_dict=False,
        )[0]
        # Tokens of a source image come after the picture's own; their velocity means nothing.
        return predicted[:, : x_t_B.shape[1]].float()

    def image_tokens(self, x_t_B: Tensor, conditioning: Conditioning) -> Tensor:
        return x_t_B

    def image_ids(self) -> Tensor:
        """Positions of the image tokens, `[L 3]`."""
        rows, columns = self.grid()
        ids: Tensor = self.pipeline._prepare_latent_image_ids(1, rows, columns, self.device, self.dtype)
        return ids

    def guidance(self, count: int) -> Tensor | None:
        if not self.transformer.config.guidance_embeds:
            return None
        return torch.full((count,), self.config.guidance, device=self.device, dtype=torch.float32)

    @torch.no_grad()
    def decode(self, x_0_B: Tensor) -> list[Image.Image]:
        vae, factor = self.pipeline.vae, self.pipeline.vae_scale_factor
        latents = self.pipeline._unpack_latents(x_0_B, self.config.height, self.config.width, factor)
        latents = latents.to(vae.dtype) / vae.config.scaling_factor + vae.config.shift_factor
        images: list[Image.Image] = self.pipeline.image_processor.postprocess(
            vae.decode(latents, return_dict=False)[0], output_type="pil"
        )
        return images

    def sigmas(self, steps: int) -> list[float] | None:
        return even_times(steps)

    def shift(self, steps: int) -> float | None:
        from diffusers.pipelines.flux.pipeline_flux import calculate_shift

        rows, columns = self.grid()
        settings = self.pipeline.scheduler.config
        return float(
            calculate_shift(
                rows * columns,
                settings.get("base_image_seq_len", 256),
                settings.get("max_image_seq_len", 4096),
                settings.get("base_shift", 0.5),
                settings.get("max_shift", 1.15),
            )
        )
