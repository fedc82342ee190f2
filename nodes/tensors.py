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
PIECE_VALUES: Final = 1 << 16
"""Values that are looked at and turned into bytes at once: they stay in the processor's cache."""


def to_pictures(images: Any) -> list[Image.Image]:
    """[B, H, W, 3 or 4] on any device -> RGB pictures as ComfyUI shows them, a fourth channel (alpha) laid over white.

    Values outside 0..1 are cut off and NaN is black: `pictures_and_flaws` says which are therefore not to be judged.
    RequestError for what is no batch of images.
    """
    return pictures_and_flaws(images)[0]


def pictures_and_flaws(images: Any) -> tuple[list[Image.Image], dict[int, str]]:
    """The pictures, and index -> why this one of the batch cannot be judged, in one sentence; empty where all is well."""
    seen = [_picture(picture) for picture in _floats(images)]
    flaws = {index: _flaw(index, low, high) for index, (_, low, high) in enumerate(seen)}
    return [picture for picture, _, _ in seen], {index: why for index, why in flaws.items() if why}


def sound_pictures(images: Any) -> list[Image.Image]:
    """Like `to_pictures`, and RequestError for the first picture with a flaw."""
    pictures, flaws = pictures_and_flaws(images)
    for sentence in flaws.values():
        raise RequestError(sentence)
    return pictures


def _picture(floats: np.ndarray) -> tuple[Image.Image, Any, Any]:
    """[H, W, C] as a picture, with the lowest and the highest of its values, which are NaN if one is.

    A VAE leaves its channels as planes, one behind the other: those are read as they lie, and Pillow puts them together.
    """
    if floats.strides[2] <= floats.strides[1]:
        pixels, low, high = _bytes(floats)
        return to_rgb(Image.fromarray(pixels)), low, high
    planes = [_bytes(floats[:, :, channel]) for channel in range(floats.shape[2])]
    bands = [Image.fromarray(pixels) for pixels, _, _ in planes]
    lows, highs = zip(*((low, high) for _, low, high in planes), strict=True)
    return to_rgb(Image.merge("RGBA"[: len(bands)], bands)), np.min(lows), np.max(highs)


def _bytes(floats: np.ndarray) -> tuple[np.ndarray, Any, Any]:
    """An array of 0..1 as whole numbers of 0..255, and its lowest and highest value."""
    pixels = np.empty(floats.shape, np.uint8)
    step = max(1, PIECE_VALUES // floats[0].size)
    lows, highs = [], []
    for start in range(0, len(floats), step):
        rows = floats[start : start + step]
        low, high = rows.min(), rows.max()
        rows = rows * np.float32(255.0)
        rows += 0.5
        if not (low >= 0.0 and high <= 1.0):
            np.fmax(rows, 0.0, out=rows)  # of NaN and 0 it takes 0
            np.minimum(rows, 255.0, out=rows)
        pixels[start : start + step] = rows
        lows.append(low)
        highs.append(high)
    return pixels, np.min(lows), np.max(highs)


def _flaw(index: int, low: Any, high: Any) -> str:
    if not (np.isfinite(low) and np.isfinite(high)):
        return (
            f"Image {index + 1} holds values that are no numbers (NaN or infinity): look at the node that made it; "
            "a VAE in fp16 is a common cause."
        )
    if low < -OVERSHOOT or high > 1.0 + OVERSHOOT:
        return (
            f"Image {index + 1} has values from {low:.4g} to {high:.4g} where ComfyUI's images go from 0 to 1: "
            "scale it to that range first."
        )
    return ""


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
