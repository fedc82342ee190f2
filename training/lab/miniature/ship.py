"""Write finished miniatures the way they are shipped: half precision, safetensors, nothing else."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from diffusers import StableDiffusion3Pipeline


def ship_generator(pipeline: StableDiffusion3Pipeline, folder: Path) -> None:
    """Save the pipeline in bfloat16 safetensors."""
    half = copy.deepcopy(pipeline).to(dtype=torch.bfloat16)
    half.save_pretrained(folder, safe_serialization=True)
