"""ComfyUI's IMAGE tensors [B, H, W, C], values 0..1, and PIL pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from PIL import Image

from ..rationalrewards_core.errors import RequestError
from ..rationalrewards_core.pixels import to_rgb

OVERSHOOT: Final = 0.25
"""How far values may lie outside 0..1: resampling and sharpening go a little beyond, other ranges go far."""
ROWS: Final = 32
"""Rows that are turned into bytes at once: they stay in the processor's cache, and no second batch of floats is made."""


def to_pictures(images: Any) -> list[Image.Image]:
    """[B, H, W, 3 or 4] on any device -> RGB pictures as ComfyUI shows them, a fourth channel (alpha) laid over white.

    Values outside 0..1 are cut off and NaN is black: `flaws` says which pictures are therefore not to be judged.
    RequestError for what is no batch of images.
    """
    return [to_rgb(Image.fromarray(_in_bytes(picture))) for picture in _floats(images)]


def _in_bytes(picture: np.ndarray) -> np.ndarray:
    """[H, W, C] of 0..1 as whole numbers of 0..255."""
    pixels = np.empty(picture.shape, np.uint8)
    for start in range(0, len(picture), ROWS):
        rows = picture[start : start + ROWS] * np.float32(255.0)
        rows += 0.5
        np.fmax(rows, 0.0, out=rows)  # of NaN and 0 it takes 0
        np.minimum(rows, 255.0, out=rows)
        pixels[start : start + ROWS] = rows
    return pixels


def flaws(images: Any) -> dict[int, str]:
    """Index -> why this picture of a batch cannot be judged, in one sentence; empty where all is well."""
    why: dict[int, str] = {}
    for index, picture in enumerate(_floats(images)):
        low, high = picture.min(), picture.max()
        if not (np.isfinite(low) and np.isfinite(high)):  # both are NaN as soon as one value is
            why[index] = (
                f"Image {index + 1} holds values that are no numbers (NaN or infinity): look at the node that made it; "
                "a VAE in fp16 is a common cause."
            )
        elif low < -OVERSHOOT or high > 1.0 + OVERSHOOT:
            why[index] = (
                f"Image {index + 1} has values from {low:.4g} to {high:.4g} where ComfyUI's images go from 0 to 1: "
                "scale it to that range first."
            )
    return why


def sound_pictures(images: Any) -> list[Image.Image]:
    """Like `to_pictures`, and RequestError for the first picture with a flaw."""
    for sentence in flaws(images).values():
        raise RequestError(sentence)
    return to_pictures(images)


def to_images(pictures: Sequence[Image.Image]) -> Any:
    """RGB pictures of one size -> [B, H, W, 3] float32 on the CPU."""
    import torch

    stacked = np.stack([np.asarray(to_rgb(picture), dtype=np.float32) for picture in pictures])
    return torch.from_numpy(stacked / 255.0)


def _floats(images: Any) -> np.ndarray:
    """[B, H, W, 3 or 4] as float32."""
    shape = tuple(getattr(images, "shape", ()))
    if len(shape) != 4 or shape[-1] not in (3, 4):
        raise RequestError(
            f"This is no batch of images: its shape is {list(shape)}, and ComfyUI's images are "
            "[images, height, width, 3 or 4]; connect an IMAGE output of another node."
        )
    if 0 in shape:
        raise RequestError("There is no image to judge; the batch is empty.")
    if not hasattr(images, "is_floating_point"):
        raise RequestError(
            f"This is no tensor of images but a {type(images).__name__}; turn it into one by torch.from_numpy."
        )
    if not images.is_floating_point():
        raise RequestError(
            f"The image holds whole numbers ({images.dtype}) where ComfyUI's images go from 0 to 1: divide it by 255 first."
        )
    floats: np.ndarray = images.detach().cpu().float().numpy()
    return floats
