"""Images in and out: opened with suspicion, capped in pixels, written as PNG."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Final

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from .errors import RequestError

FORMATS: Final = ("PNG", "JPEG", "WEBP")
"""What `open_image` reads; every other decoder of Pillow stays shut."""

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


def open_image(source: bytes | str | Path, max_pixels: int) -> Image.Image:
    """Open a PNG, JPEG or WebP as upright RGB, transparent pixels over white.

    The size is checked before anything is decoded, so a decompression bomb costs nothing. Raises
    RequestError, in one sentence, for whatever cannot be opened or has more than `max_pixels`.
    """
    name = "The image" if isinstance(source, bytes) else f"The image {str(source)!r}"
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise RequestError(
                    f"{name} has {image.width} x {image.height} pixels; at most {max_pixels} are accepted. Scale it down."
                )
            image.load()
            return flattened(_upright(image))
    except FileNotFoundError as error:
        raise RequestError(f"{name} does not exist.") from error
    except (IsADirectoryError, PermissionError) as error:
        raise RequestError(f"{name} cannot be opened: {error.strerror}.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RequestError(f"{name} has far more than the {max_pixels} pixels that are accepted.") from error
    except UnidentifiedImageError as error:
        raise RequestError(f"{name} is not a readable {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file.") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise RequestError(f"{name} is damaged: {error}.") from error


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF says. ImageOps.exif_transpose would also write the EXIF again, and fails on odd ones."""
    turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return image if turn is None else image.transpose(turn)


def flattened(image: Image.Image) -> Image.Image:
    """The image as RGB: transparent pixels over white, 16-bit grey brought down to 8."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _from_16_bit(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layered).convert("RGB")
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    """16-bit grey as RGB. Pillow's own conversion cuts off at 255, which leaves a white picture."""
    depth = np.asarray(image)
    grey = (np.clip(depth, 0, 65_535) >> 8).astype(np.uint8)
    grey[depth == image.info.get("transparency", -1)] = 255
    return Image.fromarray(grey).convert("RGB")


def within_pixels(image: Image.Image, max_pixels: int) -> Image.Image:
    """The image, scaled down with its proportions kept if it has more than `max_pixels`."""
    if image.width * image.height <= max_pixels:
        return image
    scale = (max_pixels / (image.width * image.height)) ** 0.5
    width, height = (min(max_pixels, max(1, int(side * scale))) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def png_bytes(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", icc_profile=None)
    return buffer.getvalue()


def data_url(image: Image.Image) -> str:
    """The image as a `data:` URL with a PNG in it."""
    return "data:image/png;base64," + base64.b64encode(png_bytes(image)).decode("ascii")
