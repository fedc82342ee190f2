"""Z-Image: a single stream of text and image tokens; time runs the other way, and so does its velocity."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor

from rationalrewards_core.messages import UserRequest

from .base import Conditioning, ModelFamily, even_times


class ZImage(ModelFamily):
    pipeline_class = "ZImagePipeline"
    transformer_class = "ZImageTransformer2DModel"
    lora_targets = ("attention.to_q", "attention.to_k", "attention.to_v", "attention.to_out.0")

    def multiple_of(self) -> int:
        return int(self.pipeline.vae_scale_factor * 2)

    def latent_shape(self) -> tuple[int, ...]:
        factor = self.pipeline.vae_scale_factor
        return (self.transformer.config.in_channels, self.config.height // factor, self.config.width // factor)

    @torch.no_grad()
    def encode(self, request: UserRequest) -> Conditioning:
        (tokens,) = self.pipeline._encode_prompt(
            [request.text], device=self.device, max_sequence_length=self.config.text_length or 512
        )
        mask = torch.ones(1, len(tokens), dtype=torch.bool, device=tokens.device)
        return {"tokens": tokens[None].to(self.dtype), "mask": mask}

    def velocity(self, model: Any, x_t_B: Tensor, t_B: Tensor, conditioning: Conditioning) -> Tensor:
        texts = [tokens[mask] for tokens, mask in zip(conditioning["tokens"], conditioning["mask"], strict=True)]
        pictures = list(x_t_B.to(self.dtype).unsqueeze(2).unbind(dim=0))
        predicted = model(pictures, 1.0 - t_B, texts, return_dict=False)[0]
        return -torch.stack([picture.float() for picture in predicted]).squeeze(2)

    @torch.no_grad()
    def decode(self, x_0_B: Tensor) -> list[Image.Image]:
        vae = self.pipeline.vae
        latents = x_0_B.to(vae.dtype) / vae.config.scaling_factor + vae.config.shift_factor
        images: list[Image.Image] = self.pipeline.image_processor.postprocess(
            vae.decode(latents, return_dict=False)[0], output_type="pil"
        )
        return images

    def sigmas(self, steps: int) -> list[float] | None:
        return even_times(steps)

    def shift(self, steps: int) -> float | None:
        from diffusers.pipelines.z_image.pipeline_z_image import calculate_shift

        _, height, width = self.latent_shape()
        settings = self.pipeline.scheduler.config
        return float(
            calculate_shift(
                (height // 2) * (width // 2),
                settings.get("base_image_seq_len", 256),
                settings.get("max_image_seq_len", 4096),
                settings.get("base_shift", 0.5),
                settings.get("max_shift", 1.15),
            )
        )
