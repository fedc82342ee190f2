"""Writes an SD1.5-shaped checkpoint of random weights (341 MB) that Load Checkpoint takes and KSampler samples from.

Run by ComfyUI's own interpreter inside ComfyUI's folder, because the shapes are those of ComfyUI's classes:

    python tiny_checkpoint.py checkpoint FILE.safetensors
    python tiny_checkpoint.py vae FILE.safetensors          a TAESD for latents of 16 channels, such as SD3's

The UNet keeps what makes ComfyUI recognise SD1.5 (320 channels, context 768, no linear projection) and drops all but
two levels; the autoencoder is a TAESD; the text encoder is CLIP-L, whose shape is fixed.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def random_weights(model: Any, prefix: str) -> dict[str, Any]:
    """N(0, 1/fan_in) matrices, unit norms, zero biases: activations stay finite through the whole model."""
    import torch

    weights = {}
    for name, value in model.state_dict().items():
        if value.ndim >= 2:
            filled = torch.randn(value.shape) / value[0].numel() ** 0.5
        else:
            filled = torch.full(value.shape, 1.0 if name.endswith("weight") else 0.0)
        weights[prefix + name] = filled.half().contiguous()
    return weights


def unet(operations: Any) -> Any:
    import torch
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    return UNetModel(
        image_size=32,
        in_channels=4,
        out_channels=4,
        model_channels=320,
        channel_mult=(1, 1),
        num_res_blocks=[1, 1],
        transformer_depth=[1, 1],
        transformer_depth_output=[1, 1, 1, 1],
        transformer_depth_middle=1,
        use_spatial_transformer=True,
        use_linear_in_transformer=False,
        context_dim=768,
        num_heads=8,
        num_head_channels=-1,
        adm_in_channels=None,
        use_temporal_attention=False,
        legacy=False,
        dtype=torch.float32,
        device="cpu",
        operations=operations,
    )


def checkpoint() -> dict[str, Any]:
    import comfy.clip_model
    import comfy.ops
    import torch
    from comfy.taesd.taesd import TAESD

    torch.manual_seed(0)
    operations = comfy.ops.disable_weight_init
    with open("comfy/sd1_clip_config.json") as file:
        text_encoder = comfy.clip_model.CLIPTextModel(json.load(file), torch.float32, "cpu", operations)
    return {
        **random_weights(unet(operations), "model.diffusion_model."),
        **random_weights(TAESD(latent_channels=4), "first_stage_model."),
        "first_stage_model.vae_scale": torch.tensor(0.18215),
        "first_stage_model.vae_shift": torch.tensor(0.0),
        **random_weights(text_encoder, "cond_stage_model.transformer."),
    }


def vae() -> dict[str, Any]:
    import torch
    from comfy.taesd.taesd import TAESD

    torch.manual_seed(0)
    scale, shift = torch.tensor(1.0), torch.tensor(0.0)
    return {**random_weights(TAESD(latent_channels=16), ""), "vae_scale": scale, "vae_shift": shift}


KINDS = {"checkpoint": checkpoint, "vae": vae}


def main(kind: str, target: str) -> None:
    # ComfyUI reads its options while it is imported, and without this one it asks for a GPU.
    sys.path.insert(0, os.getcwd())
    sys.argv[1:] = ["--cpu"]
    import comfy.options

    comfy.options.enable_args_parsing()
    from safetensors.torch import save_file

    save_file(KINDS[kind](), target)


if __name__ == "__main__":
    main(*sys.argv[1:])
