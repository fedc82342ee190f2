"""Whether an evaluation's pairs were seen in training: by request text and by pixels, exactly.

Requests are compared without case and spacing, images by their RGB pixels, so that another file format hides nothing.
A resized or re-encoded (JPEG) copy of an image is not found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from rationalrewards_core.errors import RequestError
from rationalrewards_core.pixels import to_rgb

from ..data.labelled_pairs import LabelledPair, PairFolder
from ..data.store import ImageStore


@dataclass(frozen=True, kw_only=True)
class Leakage:
    """What two folders share."""

    pairs: int
    requests: tuple[str, ...]
    """Keys of evaluation pairs whose request occurs in training."""
    images: tuple[str, ...]
    """Keys of evaluation pairs of which a candidate or source occurs in training."""
    unreadable: int
    """Images that could not be compared."""

    @property
    def clean(self) -> bool:
        return not self.requests and not self.images

    def __str__(self) -> str:
        return (
            f"{len(self.requests)} of {self.pairs} pairs have a request that occurs in training, {len(self.images)} "
            f"an image that does; {self.unreadable} images could not be compared"
        )


def leakage(evaluation: PairFolder, held_out: Sequence[LabelledPair], training: PairFolder) -> Leakage:
    """Compare `held_out` pairs of one folder with the training pairs (split `train`, or all without splits) of another."""
    everything = training.pairs()
    training_rows = [labelled for labelled in everything if labelled.split in ("train", "")]
    requests = {plain(labelled.pair.request) for labelled in training_rows}
    trained, lost = _pixels(
        training.path, {name for labelled in training_rows for name in labelled.pair.images}, "training"
    )
    pixels, missing = _pixels(evaluation.path, {n for labelled in held_out for n in labelled.pair.images}, "evaluation")
    training_pixels = set(trained.values())
    return Leakage(
        pairs=len(held_out),
        requests=tuple(one.pair.key for one in held_out if plain(one.pair.request) in requests),
        images=tuple(
            one.pair.key for one in held_out if any(pixels.get(n) in training_pixels for n in one.pair.images)
        ),
        unreadable=lost + missing,
    )


def plain(request: str) -> str:
    return " ".join(request.casefold().split())


def pixel_hash(image: Image.Image) -> str:
    return hashlib.sha256(repr(image.size).encode() + to_rgb(image).tobytes()).hexdigest()


def _pixels(folder: Path, names: Iterable[str], what: str) -> tuple[dict[str, str], int]:
    """Reference -> hash of the pixels; how many could not be read."""
    store, pixels, lost = ImageStore(folder), {}, 0
    for name in tqdm(sorted(names), desc=f"{what} images", disable=None):
        try:
            pixels[name] = pixel_hash(store.open(name))
        except RequestError:
            lost += 1
    return pixels, lost
