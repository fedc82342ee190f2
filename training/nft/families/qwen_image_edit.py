"""Qwen-Image-Edit (2509 and later, the "Plus" pipeline): the source goes to the text encoder and to the transformer."""

from __future__ import annotations

import torch
from torch import Tensor

from rationalrewards_core.messages import UserRequest

from .base import Conditioning
from .qwen_image import QwenImage, mask_of


class QwenImageEdit(QwenImage):
    pipeline_class = "QwenImageEditPlusPipeline"
    edits = True
    text_tokens = 512

    @torch.no_grad()
    def encode(self, request: UserRequest) -> Conditioning:
        from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as plus

        source, processor = self.source(request), self.pipeline.image_processor
        width, height = plus.calculate_dimensions(plus.CONDITION_IMAGE_SIZE, source.width / source.height)
        tokens, mask = self.pipeline.encode_prompt(
            request.text,
            image=[processor.resize(source, height, width)],
            device=self.device,
            max_sequence_length=self.config.text_length or 1024,
        )
        pixels = processor.preprocess(source).unsqueeze(2).to(self.device, self.pipeline.vae.dtype)
        latents = self.pipeline._encode_vae_image(pixels, generator=None)
        batch, channels, _, rows, columns = latents.shape
        packed = self.pipeline._pack_latents(latents, batch, channels, rows, columns)
        return {"tokens": tokens, "mask": mask_of(tokens, mask), "source": packed.to(self.dtype)}

    def image_tokens(self, x_t_B: Tensor, conditioning: Conditioning) -> Tensor:
        return torch.cat([x_t_B, conditioning["source"]], dim=1)

    def image_shapes(self) -> list[tuple[int, int, int]]:
        return [(1, *self.grid()), (1, *self.grid())]
