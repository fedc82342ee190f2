"""ComfyUI's IMAGE tensors [B, H, W, C], values 0..1, and PIL pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image


def to_pictures(images: Any) -> list[Image.Image]:
    """[B, H, W, C] on any device -> RGB pictures; a fourth channel (alpha) is dropped."""
    pixels = (images[..., :3].detach().cpu().float().clamp(0, 1).numpy() * 255.0 + 0.5).astype(np.uint8)
    return [Image.fromarray(picture, "RGB") for picture in pixels]


def to_images(pictures: Sequence[Image.Image]) -> Any:
    """RGB pictures of one size -> [B, H, W, 3] float32 on the CPU."""
    import torch

    stacked = np.stack([np.asarray(picture.convert("RGB"), dtype=np.float32) for picture in pictures])
    return torch.from_numpy(stacked / 255.0)
