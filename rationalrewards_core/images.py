"""Images in and out: opened with suspicion, capped in pixels, written as PNG."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import RequestError

FORMATS: Final = ("PNG", "JPEG", "WEBP")
"""What `open_image` reads; every other decoder of Pillow stays shut."""


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
            return _flattened(ImageOps.exif_transpose(image))
    except FileNotFoundError as error:
        raise RequestError(f"{name} does not exist.") from error
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise RequestError(f"{name} is not a readable {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file.") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise RequestError(f"{name} is damaged: {error}.") from error


def _flattened(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layered).convert("RGB")
    return image.convert("RGB")


def within_pixels(image: Image.Image, max_pixels: int) -> Image.Image:
    """The image, scaled down with its proportions kept if it has more than `max_pixels`."""
    if image.width * image.height <= max_pixels:
        return image
    scale = (max_pixels / (image.width * image.height)) ** 0.5
    size = max(1, int(image.width * scale)), max(1, int(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS)


def png_bytes(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def data_url(image: Image.Image) -> str:
    """The image as a `data:` URL with a PNG in it."""
    return "data:image/png;base64," + base64.b64encode(png_bytes(image)).decode("ascii")
