"""FLUX.2-dev: Mistral's hidden states as the text, positions in four numbers, latents two by two `[B L C]`, normalised."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor

from rationalrewards_core.messages import UserRequest

from .base import JOINT_ATTENTION, Conditioning
from .flux import Flux


class Flux2(Flux):
    pipeline_class = "Flux2Pipeline"
    transformer_class = "Flux2Transformer2DModel"
    # A block of the single stream has one matrix for queries, keys, values and the way into its MLP.
    lora_targets = (*JOINT_ATTENTION, "attn.to_qkv_mlp_proj")
    text_encoders = ("text_encoder",)

    def encode(self, request: UserRequest) -> Conditioning:
        return self._encoded(request.text)

    @torch.no_grad()
    def _encoded(self, text: str) -> Conditioning:
        tokens, _ = self.pipeline.encode_prompt(
            text, device=self.device, max_sequence_length=self.config.text_length or 512
        )
        return {"tokens": tokens}

    def velocity(self, model: Any, x_t_B: Tensor, t_B: Tensor, conditioning: Conditioning) -> Tensor:
        tokens = conditioning["tokens"]
        predicted: Tensor = model(
            hidden_states=x_t_B.to(self.dtype),
            timestep=t_B.to(self.dtype),
            guidance=self.guidance(len(x_t_B)),
            encoder_hidden_states=tokens,
            txt_ids=self.pipeline._prepare_text_ids(tokens).to(self.device),
            img_ids=self.image_ids().expand(len(x_t_B), -1, -1),
            return_dict=False,
        )[0]
        return predicted.float()

    def image_ids(self) -> Tensor:
        """Positions of the image tokens, `[1 L 4]`."""
        ids: Tensor = self.pipeline._prepare_latent_ids(torch.empty(1, 1, *self.grid(), device="meta"))
        return ids.to(self.device)

    def unpacked(self, x_B: Tensor) -> Tensor:
        """Latents `[B L C]` as `[B C H W]`."""
        return x_B.transpose(1, 2).reshape(len(x_B), -1, *self.grid())

    @torch.no_grad()
    def decode(self, x_0_B: Tensor) -> list[Image.Image]:
        vae = self.pipeline.vae
        latents = self.unpacked(x_0_B.to(vae.dtype))
        mean = vae.bn.running_mean.view(1, -1, 1, 1).to(latents)
        deviation = (vae.bn.running_var.view(1, -1, 1, 1) + vae.config.batch_norm_eps).sqrt().to(latents)
        pixels = vae.decode(self.pipeline._unpatchify_latents(latents * deviation + mean), return_dict=False)[0]
        images: list[Image.Image] = self.pipeline.image_processor.postprocess(pixels, output_type="pil")
        return images

    def shift(self, steps: int) -> float | None:
        from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu

        rows, columns = self.grid()
        return float(compute_empirical_mu(rows * columns, steps))
