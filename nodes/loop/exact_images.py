"""Image tensors in a file without any loss: what is read is, value for value, what was written.

A VAE's float32 images are kept as float32: rounding a decoded picture to float16 moves most of its values, by up to
1.2e-4 (half of the last step below 0.5 to 1), and to 8 bits all of them. Where every value of an image happens to be one of the smaller
type's (a loaded file, a mask, an image computed in half precision), the smaller type is taken.

A VAE leaves the channels of an image as planes, one behind the other. They are written as they lie, and come back so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

WHOLE: Final = "rationalrewards.bytes"
"""Marks tensors of whole numbers 0..255 that stand for value / 255."""
PLANES: Final = "rationalrewards.planes"
"""In its place where a batch is stored as [B, C, H, W]: an older pack, which would misread it, makes the iteration again."""
SAMPLE: Final = 997
"""Every so many values are looked at first; an image that fails there is not looked at as a whole."""


def image_bytes(batches: Sequence[Any]) -> Iterator[bytes]:
    """A safetensors file with the batches [B, H, W, C], floats of any precision, named "0", "1", ..."""
    import torch

    names = {
        torch.float32: "F32",
        torch.float16: "F16",
        torch.bfloat16: "BF16",
        torch.float64: "F64",
        torch.uint8: "U8",
    }
    planes = [_in_planes(batch) for batch in batches]
    lying = [batch.movedim(-1, 1) if plane else batch for batch, plane in zip(batches, planes, strict=True)]
    smallest = [_smallest(batch.contiguous()) for batch in lying]
    types = [str(batch.dtype) for batch in batches]
    layout = {PLANES: json.dumps([types, planes])} if any(planes) else {WHOLE: json.dumps(types)}
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **layout}}
    at = 0
    for number, batch in enumerate(smallest):
        size = batch.numel() * batch.element_size()
        header[str(number)] = {
            "dtype": names[batch.dtype],
            "shape": list(batch.shape),
            "data_offsets": [at, at + size],
        }
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for batch in smallest:
        yield memoryview(batch.view(torch.uint8).numpy()).cast("B")  # type: ignore[misc]


def read_images(file: Path) -> list[Any]:
    """The batches of a file. OSError if it is not there, ValueError if it is not whole."""
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            types, planes = _layout(opened.metadata())
            stored = [opened.get_tensor(str(number)) for number in range(len(types))]
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(str(error)) from error
    images = [
        _restored(batch, getattr(torch, name.removeprefix("torch."))) for batch, name in zip(stored, types, strict=True)
    ]
    return [batch.movedim(1, -1) if plane else batch for batch, plane in zip(images, planes, strict=True)]


def _layout(metadata: dict[str, str]) -> tuple[list[str], list[bool]]:
    """Of each batch of a file: its type, and whether it is stored as [B, C, H, W]."""
    if PLANES in metadata:
        types, planes = json.loads(metadata[PLANES])
        return types, planes
    types = json.loads(metadata[WHOLE])
    return types, [False] * len(types)


def _in_planes(batch: Any) -> bool:
    """Whether a batch [B, H, W, C] lies in memory as [B, C, H, W], and not as it is."""
    return bool(batch.movedim(-1, 1).is_contiguous() and not batch.is_contiguous())


def _smallest(batch: Any) -> Any:
    """The batch in the smallest type that holds every value of it exactly."""
    import torch

    for kind in (torch.uint8, torch.float16):
        if _exact(batch.flatten()[::SAMPLE], kind) and _exact(batch, kind):
            return _as(batch, kind)
    return batch


def _exact(values: Any, kind: Any) -> bool:
    import torch

    return bool(torch.equal(_restored(_as(values, kind), values.dtype), values))


def _as(values: Any, kind: Any) -> Any:
    import torch

    return (values * 255).round().clamp(0, 255).to(torch.uint8) if kind is torch.uint8 else values.to(kind)


def _restored(values: Any, kind: Any) -> Any:
    """In the type that the image had."""
    import torch

    return values.to(kind) / 255 if values.dtype is torch.uint8 else values.to(kind)
