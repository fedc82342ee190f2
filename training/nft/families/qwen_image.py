"""Qwen-Image: one Qwen2.5-VL text encoder, texts of their own length, latents packed two by two `[B L C]`."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor

from rationalrewards_core.messages import UserRequest

from .base import Conditioning
from .flux import Flux


class QwenImage(Flux):
    pipeline_class = "QwenImagePipeline"
    transformer_class = "QwenImageTransformer2DModel"
    text_encoders = ("text_encoder",)
    text_tokens = 256

    @torch.no_grad()
    def encode(self, request: UserRequest) -> Conditioning:
        tokens, mask = self.pipeline.encode_prompt(
            request.text, device=self.device, max_sequence_length=self.config.text_length or 512
        )
        return {"tokens": tokens, "mask": mask_of(tokens, mask)}

    def velocity(self, model: Any, x_t_B: Tensor, t_B: Tensor, conditioning: Conditioning) -> Tensor:
        mask = conditioning["mask"]
        predicted: Tensor = model(
            hidden_states=self.image_tokens(x_t_B.to(self.dtype), conditioning),
            timestep=t_B.to(self.dtype),
            guidance=self.guidance(len(x_t_B)),
            encoder_hidden_states=conditioning["tokens"],
            encoder_hidden_states_mask=None if bool(mask.all()) else mask,
            img_shapes=[self.image_shapes()] * len(x_t_B),
            return_dict=False,
        )[0]
        return predicted[:, : x_t_B.shape[1]].float()

    def image_shapes(self) -> list[tuple[int, int, int]]:
        """Frames, rows and columns of every image whose tokens the transformer sees."""
        return [(1, *self.grid())]

    @torch.no_grad()
    def decode(self, x_0_B: Tensor) -> list[Image.Image]:
        vae, factor = self.pipeline.vae, self.pipeline.vae_scale_factor
        latents = self.pipeline._unpack_latents(x_0_B, self.config.height, self.config.width, factor).to(vae.dtype)
        mean, deviation = (
            torch.tensor(values).reshape(1, -1, 1, 1, 1).to(latents)
            for values in (vae.config.latents_mean, vae.config.latents_std)
        )
        decoded = vae.decode(latents * deviation + mean, return_dict=False)[0][:, :, 0]
        images: list[Image.Image] = self.pipeline.image_processor.postprocess(decoded, output_type="pil")
        return images


def mask_of(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """The pipeline says None where every token counts; batches of several texts need it in numbers."""
    return torch.ones(tokens.shape[:2], dtype=torch.long, device=tokens.device) if mask is None else mask.long()
