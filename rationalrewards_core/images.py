"""Images in and out: opened with suspicion, capped in pixels, written as PNG."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from PIL import Image, UnidentifiedImageError

from .errors import RequestError
from .pixels import to_rgb

T = TypeVar("T")

QWEN3_FACTOR: Final = 32

MAX_PIXELS: Final = 64_000_000
"""Larger pictures are not judged, nor learned from."""

FORMATS: Final = ("PNG", "JPEG", "WEBP")
"""What `open_image` reads; every other decoder of Pillow stays shut."""

PICTURE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp")
"""How files of these formats end, in lower case."""

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

PIXEL_CHUNKS: Final = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"eXIf", b"IEND")
"""What of a PNG decides how its first picture looks."""


def open_image(source: bytes | str | Path, max_pixels: int) -> Image.Image:
    """Open a PNG, JPEG or WebP as upright RGB, transparent pixels over white (`pixels.to_rgb`).

    The size is checked before anything is decoded, so a decompression bomb costs nothing. Raises
    RequestError, in one sentence, for whatever cannot be opened or has more than `max_pixels`.
    """
    return _read(source, max_pixels, _decoded)


def image_header(source: bytes | str | Path, max_pixels: int) -> tuple[str, tuple[int, int]]:
    """Pillow's name of the file's format, and (width, height) as stored; nothing is decoded. Raises like `open_image`."""
    return _read(source, max_pixels, lambda image: (str(image.format), image.size))


def _read(source: bytes | str | Path, max_pixels: int, reading: Callable[[Image.Image], T]) -> T:
    name = "The image" if isinstance(source, bytes) else f"The image {str(source)!r}"
    try:
        try:
            return _opened(io.BytesIO(source) if isinstance(source, bytes) else source, name, max_pixels, reading)
        except ValueError:  # among other things, a PNG with more text than Pillow unpacks: a long workflow or profile
            content = source if isinstance(source, bytes) else Path(source).read_bytes()
            return _opened(io.BytesIO(without_texts(content)), name, max_pixels, reading)
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


def _opened(file: io.BytesIO | str | Path, name: str, max_pixels: int, reading: Callable[[Image.Image], T]) -> T:
    with Image.open(file, formats=FORMATS) as image:
        if image.width * image.height > max_pixels:
            raise RequestError(
                f"{name} has {image.width} x {image.height} pixels; at most {max_pixels} are accepted. Scale it down."
            )
        return reading(image)


def _decoded(image: Image.Image) -> Image.Image:
    image.load()
    return to_rgb(image)


def without_texts(content: bytes) -> bytes:
    """A PNG's first picture without what else the file holds; anything but a PNG as it is."""
    if not content.startswith(PNG_SIGNATURE):
        return content
    chunks, at = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while at + 8 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")  # length, name, content, checksum
        if content[at + 4 : at + 8] in PIXEL_CHUNKS:
            chunks.append(content[at:end])
        at = end
    return b"".join(chunks)


def within_pixels(image: Image.Image, max_pixels: int) -> Image.Image:
    """The image, scaled down with its proportions kept if it has more than `max_pixels`."""
    if image.width * image.height <= max_pixels:
        return image
    scale = (max_pixels / (image.width * image.height)) ** 0.5
    width, height = (min(max_pixels, max(1, int(side * scale))) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def qwen_size(size: tuple[int, int], factor: int, least: float, most: float) -> tuple[int, int]:
    """(width, height) in multiples of `factor` with `least` to `most` pixels and the proportions about kept.

    It is the size to which the image processors of the Qwen-VL family scale; `factor` is the side of the patch that becomes
    one token.
    """
    width, height = size
    wide, high = (max(1, round(side / factor)) * factor for side in size)
    if wide * high > most:
        scale = math.sqrt(width * height / most)
        wide, high = (max(factor, math.floor(side / scale / factor) * factor) for side in size)
    elif wide * high < least:
        scale = math.sqrt(least / (width * height))
        wide, high = (math.ceil(side * scale / factor) * factor for side in size)
    return wide, high


def for_server(image: Image.Image, max_pixels: int) -> Image.Image:
    """The image, if it is too large scaled down as the local engine's image processor does it (of Qwen3-VL).

    For servers whose grid of pictures is neither stated nor found by the probe (see `picture_grid`): what fits is left to
    the server's own processor.
    """
    wide, high = qwen_size(image.size, QWEN3_FACTOR, 0, math.inf)
    if max(image.width * image.height, wide * high) <= max_pixels:
        return image
    return image.resize(qwen_size(image.size, QWEN3_FACTOR, 0, max_pixels), Image.Resampling.BICUBIC)


def png_bytes(image: Image.Image) -> bytes:
    """The image as an RGB PNG of pixels alone."""
    buffer = io.BytesIO()
    to_rgb(image).save(buffer, format="PNG", icc_profile=None)
    return buffer.getvalue()


def data_url(image: Image.Image) -> str:
    """The image as a `data:` URL with a PNG in it."""
    return "data:image/png;base64," + base64.b64encode(png_bytes(image)).decode("ascii")
