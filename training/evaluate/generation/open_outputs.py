"""The images of a question, as the benchmark shows them to its judge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from rationalrewards_core.errors import RequestError
from rationalrewards_core.images import MAX_PIXELS, open_image
from rationalrewards_core.messages import Message

from ...data.store import ImageStore
from .outputs import BenchmarkQuestion, Output, QuestionPicture

CANVAS: Final = 1024
"""Pixels of the longer side of an image to which boxes refer."""
PADDING: Final = 20
"""Pixels by which a box is widened on each side."""


@dataclass(frozen=True)
class OpenOutput:
    """An output and its sources, opened."""

    sources: tuple[Image.Image, ...]
    output: Image.Image


def opened(output: Output, path: Path, store: ImageStore) -> OpenOutput:
    """RequestError if an image is missing or damaged."""
    return OpenOutput(tuple(store.open(source) for source in output.sources), open_image(path, MAX_PIXELS))


def message(question: BenchmarkQuestion, pictures: OpenOutput) -> Message:
    """The question as the judge gets it."""
    return Message(
        "user", tuple(part if isinstance(part, str) else _picture(part, pictures) for part in question.parts)
    )


def _picture(picture: QuestionPicture, pictures: OpenOutput) -> Image.Image:
    image = pictures.sources[0] if picture.of == "source" else pictures.output
    if picture.like_source and image.size != pictures.sources[0].size:
        image = image.resize(pictures.sources[0].size)
    return image if picture.box is None else cut_out(image, picture.box)


def cut_out(image: Image.Image, box: tuple[float, float, float, float]) -> Image.Image:
    """A part of the image, widened, and scaled so that its longer side has CANVAS pixels."""
    whole = on_canvas(image)
    x, y, width, height = box
    left, top = max(0.0, x - PADDING), max(0.0, y - PADDING)
    right, bottom = min(whole.width, x + width + PADDING), min(whole.height, y + height + PADDING)
    if right - left < 1 or bottom - top < 1:
        raise RequestError(f"The marked part {box} lies outside the image of {image.width} x {image.height} pixels.")
    return on_canvas(whole.crop((round(left), round(top), round(right), round(bottom))))


def on_canvas(image: Image.Image) -> Image.Image:
    """The image scaled, up or down, so that its longer side has CANVAS pixels."""
    longer = max(image.size)
    if longer == CANVAS:
        return image
    width, height = (max(1, int(side * CANVAS / longer)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)
