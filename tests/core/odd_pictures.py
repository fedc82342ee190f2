"""Files as people have them: one picture in every encoding that readers are known to get wrong."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import ExifTags, Image

WIDTH, HEIGHT = 60, 44
CLEAR = np.add.outer(np.arange(HEIGHT) * 3, np.arange(WIDTH) * 2) % 23 < 9
"""Which pixels are transparent in the files that can say so."""


def scene() -> np.ndarray:
    """[H W 3] ramps and two blocks, in colours whose high byte is all that 16 bits would add."""
    across, down = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    picture = np.stack([across * 4, down * 5, (across * 3 + down * 2) % 256], -1).astype(np.uint8)
    picture[5:20, 8:30], picture[25:40, 33:52] = (230, 20, 30), (20, 40, 220)
    return picture


def grey() -> np.ndarray:
    """[H W] of the scene."""
    return np.asarray(Image.fromarray(scene()).convert("L"))


def over_white(picture: np.ndarray) -> np.ndarray:
    """What is seen of an RGB or a grey picture whose CLEAR pixels are transparent."""
    shown = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, -1)
    return np.where(CLEAR[..., None], 255, shown).astype(np.uint8)


def rgb(shades: np.ndarray) -> np.ndarray:
    return np.repeat(shades[..., None], 3, -1)


def png_16_bit(samples: np.ndarray, kind: int, transparency: bytes = b"") -> bytes:
    """[H W C] of 16 bits as a PNG; Pillow writes only grey ones."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, kind, 0, 0, 0)
    extra = chunk(b"tRNS", transparency) if transparency else b""
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def _saved(picture: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=form, **options)
    return buffer.getvalue()


def _layered(hidden: int) -> Image.Image:
    """RGBA whose transparent pixels hide a colour."""
    return Image.fromarray(
        np.dstack([np.where(CLEAR[..., None], hidden, scene()), np.where(CLEAR, 0, 255)]).astype(np.uint8)
    )


def _turned(form: str, **options: Any) -> bytes:
    """Stored on its side, with EXIF that says so."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return _saved(Image.fromarray(scene()).transpose(Image.Transpose.ROTATE_90), form, exif=exif, **options)


def _palette(transparent: bool) -> tuple[bytes, np.ndarray]:
    """Eight colours; the first is the transparent one."""
    entries = np.array([[9, 9, 9], [200, 0, 0], [0, 200, 0], [0, 0, 200], [90, 90, 0], [0, 90, 90], [90, 0, 90], [250, 250, 1]], np.uint8)  # fmt: skip
    index = np.where(CLEAR, 0, grey() // 37 + 1).astype(np.uint8)
    picture = Image.fromarray(index, "L")
    picture = Image.frombytes("P", picture.size, picture.tobytes())
    picture.putpalette(entries.tobytes())
    seen = entries[index]
    if not transparent:
        return _saved(picture), seen
    return _saved(picture, transparency=0), np.where(CLEAR[..., None], 255, seen).astype(np.uint8)


def lossless() -> dict[str, tuple[bytes, np.ndarray]]:
    """Name -> the file, and the [H W 3] pixels that everybody must see of it."""
    whole, shades = scene(), grey()
    bits = np.where(shades > 120, 255, 0).astype(np.uint8)
    deep = shades.astype(np.uint16) * 256 + 77
    alpha = np.where(CLEAR, 0, 65_535)
    return {
        "rgb": (_saved(Image.fromarray(whole)), whole),
        "webp": (_saved(Image.fromarray(whole), "WEBP", lossless=True), whole),
        "grey": (_saved(Image.fromarray(shades)), rgb(shades)),
        "one bit": (_saved(Image.fromarray(bits).convert("1")), rgb(bits)),
        "one bit, black is clear": (_saved(Image.fromarray(bits).convert("1"), transparency=0), np.full_like(whole, 255)),
        "palette": _palette(False),
        "palette, one colour is clear": _palette(True),
        "cut-out over black": (_saved(_layered(0)), over_white(whole)),
        "cut-out over white": (_saved(_layered(255)), over_white(whole)),
        "cut-out webp": (_saved(_layered(7), "WEBP", lossless=True, exact=True), over_white(whole)),
        "grey with alpha": (
            _saved(Image.merge("LA", (Image.fromarray(shades), Image.fromarray((~CLEAR * 255).astype(np.uint8))))),
            over_white(shades),
        ),
        "16-bit grey": (_saved(Image.fromarray(deep)), rgb(shades)),
        "16-bit rgb": (png_16_bit(whole.astype(np.uint16) * 256 + 91, 2), whole),
        "16-bit rgb with alpha": (png_16_bit(np.dstack([whole.astype(np.uint16) * 256, alpha]), 6), over_white(whole)),
        "16-bit grey with alpha": (png_16_bit(np.dstack([deep, alpha]), 4), over_white(shades)),
        "16-bit grey, one shade is clear": (
            png_16_bit(np.where(CLEAR, 300, deep)[..., None], 0, struct.pack(">H", 300)), over_white(shades),
        ),
        "16-bit rgb, one colour is clear": (
            png_16_bit(np.where(CLEAR[..., None], 300, whole.astype(np.uint16) * 256 + 91), 2, struct.pack(">3H", 300, 300, 300)),
            over_white(whole),
        ),
        "on its side": (_turned("PNG"), whole),
        "on its side, webp": (_turned("WEBP", lossless=True), whole),
        "long text": (_saved(Image.fromarray(whole), icc_profile=bytes(2_000_000)), whole),
    }  # fmt: skip


def photographs() -> dict[str, bytes]:
    """JPEGs: what they show is the scene, but for what the format loses."""
    picture = Image.fromarray(scene())
    return {
        "jpeg": _saved(picture, "JPEG", quality=97),
        "phone": _turned("JPEG", quality=97),
        "phone, more pictures in it": _saved(picture, "MPO", save_all=True, append_images=[picture], quality=97),
        "for print": _saved(picture.convert("CMYK"), "JPEG", quality=97),
        "grey jpeg": _saved(picture.convert("L"), "JPEG", quality=97),
    }


def in_memory() -> dict[str, tuple[Callable[[], Image.Image], np.ndarray]]:
    """Pictures that no file gives: palettes with alpha, premultiplied alpha, other colour spaces."""
    layered = _layered(0)
    return {
        "palette with alpha": (lambda: layered.quantize(256, method=Image.Quantize.FASTOCTREE), over_white(scene())),
        "premultiplied": (lambda: layered.convert("RGBa"), over_white(scene())),
        "premultiplied grey": (
            lambda: Image.merge("LA", (Image.fromarray(grey()), layered.getchannel("A"))).convert("La"),
            over_white(grey()),
        ),
        "padded": (lambda: Image.fromarray(scene()).convert("RGBX"), scene()),
    }
