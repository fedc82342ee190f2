"""What the vision tower makes of each picture, computed once per picture and kept for the next question about it.

A critique after a score, the source of an edit loop and a comparison in both orders ask about the same pixels.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from PIL import Image

from ...errors import RequestError
from .flat_vision import FlatVision

FEATURE_BYTES: Final = 64 * 2**20
"""Memory for features of earlier pictures: two of 896 x 896 at the 8B's width, over a thousand of the miniature's."""

PATCHES: Final = 8_192
"""Patches that go through the tower at once, two pictures of 896 x 896: more are no faster and take more memory."""


@dataclass(frozen=True)
class ImageFeatures:
    """The vision tower's output for one picture."""

    pooled: Any
    """[image tokens, hidden]."""
    deepstack: tuple[Any, ...]
    """Per deepstack layer [image tokens, hidden]."""

    @property
    def nbytes(self) -> int:
        return sum(part.element_size() * part.nelement() for part in (self.pooled, *self.deepstack))


@dataclass(frozen=True)
class Picture:
    """One picture as the image processor cut it: either its patches or its features are there."""

    key: bytes
    """Names pixels and size: equal pictures have equal keys."""
    grid: tuple[int, int, int]
    """Patches in time, height and width, before merging."""
    patches: Any = field(default=None, compare=False)
    """[patches, values], where the tower still has to see them."""
    features: ImageFeatures | None = field(default=None, compare=False)
    """What the tower made of the picture before, where that is kept."""


class VisionTower:
    """Pictures to features, with the latest ones kept. `core` is the `Qwen3VLModel`."""

    def __init__(self, core: Any, image_processor: Any, device: str) -> None:
        self._core, self._processor, self._device = core, image_processor, device
        self._flat = FlatVision(core.visual) if FlatVision.fits(core.visual) else None
        self._pictures: OrderedDict[bytes, Picture] = OrderedDict()
        self.runs = 0
        """Pictures that the tower was run on."""

    def picture(self, image: Image.Image) -> Picture:
        """Cut one RGB picture into patches, unless its features are kept."""
        key = hashlib.blake2b(image.tobytes(), digest_size=16, key=repr(image.size).encode()).digest()
        if key in self._pictures:
            return self._pictures[key]
        try:
            encoded = self._processor([image], return_tensors="pt")
        except ValueError as error:
            size = " x ".join(map(str, image.size))
            raise RequestError(f"A picture of {size} pixels cannot be judged: {error}") from error
        time, height, width = (int(n) for n in encoded["image_grid_thw"][0])
        return Picture(key, (time, height, width), encoded["pixel_values"])

    def features(self, pictures: Sequence[Picture]) -> list[ImageFeatures]:
        """Features in the order of `pictures`; the tower runs once over all that are new, equal ones counted once."""
        at_hand = {p.key: p.features for p in pictures if p.features is not None}
        new = {p.key: p for p in pictures if p.features is None}
        at_hand.update(zip(new, self._run(list(new.values())), strict=True))
        for picture in pictures:
            self._pictures[picture.key] = Picture(picture.key, picture.grid, features=at_hand[picture.key])
            self._pictures.move_to_end(picture.key)
        self._forget()
        return [at_hand[p.key] for p in pictures]

    def _run(self, pictures: list[Picture]) -> list[ImageFeatures]:
        """Pictures of one size run together, as many as `PATCHES` allow."""
        self.runs += len(pictures)
        features: dict[bytes, ImageFeatures] = {}
        for grid in dict.fromkeys(picture.grid for picture in pictures):
            alike, most = [p for p in pictures if p.grid == grid], max(1, PATCHES // math.prod(grid))
            for start in range(0, len(alike), most):
                together = alike[start : start + most]
                features |= zip((p.key for p in together), self._alike(together), strict=True)
        return [features[picture.key] for picture in pictures]

    def _alike(self, pictures: list[Picture]) -> list[ImageFeatures]:
        import torch

        tower, (time, height, width) = self._core.visual, pictures[0].grid
        patches = torch.stack([p.patches for p in pictures]).to(self._device, tower.dtype)
        if self._flat is not None and time == 1:
            pooled, deepstack = self._flat(patches, height, width)
        else:
            output = tower(
                patches.flatten(0, 1), grid_thw=torch.tensor([p.grid for p in pictures], device=self._device)
            )
            # transformers 4 answers with a pair, transformers 5 with names.
            pair = output if isinstance(output, tuple) else (output.pooler_output, output.deepstack_features)
            pooled, *deepstack = (part.view(len(pictures), -1, part.shape[-1]) for part in (pair[0], *pair[1]))
        return [
            ImageFeatures(pooled[number].clone(), tuple(layer[number].clone() for layer in deepstack))
            for number in range(len(pictures))
        ]

    def _forget(self) -> None:
        """Drop the pictures asked about longest ago while they take more than their share of memory."""
        sizes = {key: p.features.nbytes for key, p in self._pictures.items() if p.features is not None}
        total = sum(sizes.values())
        while total > FEATURE_BYTES and len(self._pictures) > 1:
            key, _ = self._pictures.popitem(last=False)
            total -= sizes[key]
