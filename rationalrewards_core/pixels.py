"""Pixels: whatever a picture comes from, every judge sees the same RGB of it."""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import ExifTags, Image

from .errors import RequestError

MOST_PROPORTION: Final = 200
"""How many times longer than wide a picture may be: the image processors of the Qwen-VL family refuse more."""

UNREADABLE: Final = (OSError, SyntaxError, ValueError, TypeError, AssertionError, AttributeError)
"""What Pillow raises for damaged files and odd remarks in them; the last two for a file that was closed too early."""

_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation."""


def to_rgb(picture: Image.Image) -> Image.Image:
    """The picture as upright RGB: turned as its EXIF says, transparent pixels over white, 16-bit grey brought to 8.

    A picture that is plain RGB already comes back as it is. Raises RequestError, in one sentence, for what is no
    picture, cannot be read, or has no stated range of values (Pillow's modes F and I).
    """
    if not isinstance(picture, Image.Image):
        raise RequestError(f"A picture must be a PIL image, not {type(picture).__name__}; open it with PIL.Image.open.")
    if not picture.width or not picture.height:
        raise RequestError(f"The picture has no pixels (it is {picture.width} x {picture.height}).")
    if picture.mode == "F" or (picture.mode == "I" and picture.format != "PNG"):
        raise RequestError(f"A picture of mode {picture.mode} has no stated range of values; convert it to RGB first.")
    try:
        picture.load()
        turn = _TURNS.get(_orientation(picture))
        if turn is None and picture.mode == "RGB" and not picture.has_transparency_data:
            return picture
        plain = _flattened(picture if turn is None else picture.transpose(turn))
    except UNREADABLE as error:
        reason = str(error) or "its file was closed before its pixels were read"
        raise RequestError(f"The picture cannot be read: {reason}.") from error
    plain.info = {}  # an orientation that stayed would be undone twice
    return plain


def judgeable(picture: Image.Image) -> Image.Image:
    """The picture as a judge is given it. RequestError for what `to_rgb` refuses, and for strips of pixels."""
    plain = to_rgb(picture)
    if max(plain.size) > MOST_PROPORTION * min(plain.size):
        raise RequestError(
            f"The picture has {plain.width} x {plain.height} pixels; no side may be more than {MOST_PROPORTION} times "
            "the other. Crop it."
        )
    return plain


def _orientation(picture: Image.Image) -> int:
    """Its EXIF's; 1 (upright) if there is none that can be read.

    ImageOps.exif_transpose is not used: it would also write the EXIF again, and fails on odd ones.
    """
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 - whatever Pillow stumbles over in what stands beside them, the pixels are whole
        return 1


def _flattened(picture: Image.Image) -> Image.Image:
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        return _from_16_bit(picture)
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    clear = picture.info.get("transparency")
    if isinstance(clear, tuple) and max(clear) > 255:  # of 16 bits, where Pillow kept the high bytes of the pixels
        picture = picture.copy()
        picture.info["transparency"] = tuple(value >> 8 for value in clear)
    layered = (picture.convert("LA") if picture.mode == "La" else picture).convert("RGBA")
    white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layered).convert("RGB")


def _from_16_bit(picture: Image.Image) -> Image.Image:
    """16-bit grey as RGB. Pillow's own conversion cuts off at 255, which leaves a white picture."""
    depth = np.asarray(picture)
    grey = (np.clip(depth, 0, 65_535) >> 8).astype(np.uint8)
    grey[depth == picture.info.get("transparency", -1)] = 255
    return Image.fromarray(grey).convert("RGB")
