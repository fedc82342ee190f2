"""FLUX.1-Kontext: FLUX with the source image's tokens behind the picture's own."""

from __future__ import annotations

import torch
from torch import Tensor

from rationalrewards_core.messages import UserRequest

from .base import Conditioning
from .flux import Flux


class FluxKontext(Flux):
    pipeline_class = "FluxKontextPipeline"
    edits = True

    @torch.no_grad()
    def encode(self, request: UserRequest) -> Conditioning:
        source = self.pipeline.image_processor.preprocess(self.source(request))
        vae = self.pipeline.vae
        latents = self.pipeline._encode_vae_image(source.to(self.device, vae.dtype), generator=None)
        packed = self.pipeline._pack_latents(latents, *latents.shape)
        return {**super().encode(request), "source": packed.to(self.dtype)}

    def image_tokens(self, x_t_B: Tensor, conditioning: Conditioning) -> Tensor:
        return torch.cat([x_t_B, conditioning["source"]], dim=1)

    def image_ids(self) -> Tensor:
        """The source has the rollout's size, and a first coordinate of 1."""
        own = super().image_ids()
        source = own.clone()
        source[..., 0] = 1
        return torch.cat([own, source])
