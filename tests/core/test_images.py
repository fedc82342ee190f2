"""Images in and out: three formats, upright, over white, bounded, and every bad file one readable sentence."""

from __future__ import annotations

import base64
import io
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from rationalrewards_core.errors import RequestError
from rationalrewards_core.images import data_url, image_header, open_image, png_bytes, within_pixels

MANY = 1_000_000


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def scene(width: int = 24, height: int = 16) -> Image.Image:
    """Four flat corners, so that any turn or flip shows, also after JPEG."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = (250, 0, 0)
    picture[: height // 2, width // 2 :] = (0, 250, 0)
    picture[height // 2 :, : width // 2] = (0, 0, 250)
    return Image.fromarray(picture)


def png_header(width: int, height: int) -> bytes:
    """A tiny PNG that claims to be of any size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


class TestFormats:
    @pytest.mark.parametrize(
        ("format", "options", "error"),
        [
            ("PNG", {}, 0),
            ("WEBP", {"lossless": True}, 0),
            ("JPEG", {"quality": 95, "subsampling": 0}, 2),
            ("WEBP", {"quality": 95}, 10),
        ],
    )
    @pytest.mark.parametrize("source", ["bytes", "path", "text"])
    def test_open(self, format: str, options: dict[str, Any], error: int, source: str, tmp_path: Path) -> None:
        content = encoded(scene(), format, **options)
        path = tmp_path / "picture"
        path.write_bytes(content)
        opened = open_image({"bytes": content, "path": path, "text": str(path)}[source], MANY)
        assert (opened.mode, opened.size) == ("RGB", (24, 16))
        assert np.abs(pixels(opened) - pixels(scene())).mean() <= error

    @pytest.mark.parametrize("format", ["GIF", "BMP", "TIFF", "PPM", "ICO", "PDF", "EPS"])
    def test_other_decoders_stay_shut(self, format: str) -> None:
        with pytest.raises(RequestError, match="not a readable PNG, JPEG or WEBP file"):
            open_image(encoded(scene(32, 32), format), MANY)

    def test_jpeg_in_cmyk_and_grey(self) -> None:
        cmyk = open_image(encoded(scene().convert("CMYK"), "JPEG", quality=95), MANY)
        grey = open_image(encoded(Image.new("L", (8, 8), 77), "JPEG"), MANY)
        assert cmyk.mode == grey.mode == "RGB"
        assert np.abs(pixels(cmyk)[2, 2] - (250, 0, 0)).max() < 20
        assert grey.getpixel((4, 4)) == (77, 77, 77)

    def test_an_animation_is_its_first_frame(self) -> None:
        content = encoded(scene(), "WEBP", save_all=True, append_images=[Image.new("RGB", (24, 16))], lossless=True)
        assert open_image(content, MANY).tobytes() == scene().tobytes()


class TestExif:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
    def test_every_orientation_ends_upright(self, orientation: int, format: str) -> None:
        """Files as EXIF defines them: 6 says that the first row is the scene's right side, and so on."""
        array = np.asarray(scene())
        stored = {
            1: array, 2: array[:, ::-1], 3: array[::-1, ::-1], 4: array[::-1],
            5: array.swapaxes(0, 1), 6: np.rot90(array), 7: array[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(array, -1),
        }[orientation]  # fmt: skip
        file = Image.fromarray(np.ascontiguousarray(stored))
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        opened = open_image(encoded(file, format, exif=exif, quality=95), MANY)
        assert opened.size == (24, 16)
        for at in ((3, 3), (20, 3), (3, 12), (20, 12)):
            assert np.abs(np.subtract(opened.getpixel(at), scene().getpixel(at))).max() < 30

    @pytest.mark.parametrize("orientation", [0, 9, 65_535])
    def test_an_orientation_that_is_none(self, orientation: int) -> None:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        assert open_image(encoded(scene(), exif=exif), MANY).tobytes() == scene().tobytes()

    def test_odd_entries_beside_it_do_no_harm(self) -> None:
        """A rational number that is stored as text: Pillow reads it and cannot write it."""
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 3
        exif[ExifTags.Base.XResolution] = 72.0
        content = exif.tobytes()
        entry = struct.pack(">HHI", ExifTags.Base.XResolution, 5, 1)
        assert entry in content
        broken = content.replace(entry, struct.pack(">HHI", ExifTags.Base.XResolution, 2, 1))
        opened = open_image(encoded(scene(), exif=broken), MANY)
        assert opened.getpixel((23, 15)) == (250, 0, 0)


class TestTransparency:
    def test_alpha_lies_over_white(self) -> None:
        picture = Image.new("RGBA", (3, 1), (200, 0, 0, 255))
        picture.putpixel((1, 0), (200, 0, 0, 0))
        picture.putpixel((2, 0), (0, 0, 0, 128))
        for format, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True})):
            opened = open_image(encoded(picture, format, **options), MANY)
            assert [opened.getpixel((x, 0)) for x in range(3)] == [(200, 0, 0), (255, 255, 255), (127, 127, 127)]

    def test_grey_with_alpha(self) -> None:
        opened = open_image(encoded(Image.new("LA", (1, 1), (0, 0))), MANY)
        assert opened.getpixel((0, 0)) == (255, 255, 255)

    def test_a_transparent_palette_entry(self) -> None:
        picture = Image.new("P", (2, 1))
        picture.putpalette([9, 9, 9, 0, 0, 250])
        picture.putpixel((1, 0), 1)
        assert open_image(encoded(picture), MANY).getpixel((0, 0)) == (9, 9, 9)
        opened = open_image(encoded(picture, transparency=0), MANY)
        assert [opened.getpixel((x, 0)) for x in range(2)] == [(255, 255, 255), (0, 0, 250)]

    @pytest.mark.parametrize(("mode", "clear"), [("L", 40), ("RGB", (40, 40, 40)), ("1", 0)])
    def test_a_transparent_colour(self, mode: str, clear: Any) -> None:
        assert (
            open_image(encoded(Image.new(mode, (1, 1), clear), transparency=clear), MANY).getpixel((0, 0)) == (255,) * 3
        )


class TestDepth:
    def test_16_bit_grey_keeps_its_shades(self) -> None:
        ramp = (np.arange(64, dtype=np.uint16) * 1024).reshape(8, 8)
        opened = open_image(encoded(Image.fromarray(ramp)), MANY)
        assert pixels(opened)[..., 0].ravel().tolist() == [4 * shade for shade in range(64)]

    def test_16_bit_grey_with_a_transparent_shade(self) -> None:
        """Pillow does not write this kind of file, so its tRNS chunk is put in by hand."""
        content = encoded(Image.fromarray(np.array([[1024, 2048]], np.uint16)))
        chunk = b"tRNS" + struct.pack(">H", 1024)
        at = content.index(b"IDAT") - 4
        content = content[:at] + struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[at:]
        opened = open_image(content, MANY)
        assert [opened.getpixel((x, 0)) for x in range(2)] == [(255, 255, 255), (8, 8, 8)]

    def test_one_bit(self) -> None:
        opened = open_image(encoded(Image.new("1", (2, 2), 1)), MANY)
        assert opened.getpixel((1, 1)) == (255, 255, 255)


class TestLimits:
    def test_pixels(self) -> None:
        assert open_image(encoded(scene()), 24 * 16).size == (24, 16)
        with pytest.raises(RequestError, match="24 x 16 pixels; at most 383 are accepted"):
            open_image(encoded(scene()), 24 * 16 - 1)

    @pytest.mark.parametrize(("width", "height"), [(12_000, 9_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
    @pytest.mark.filterwarnings("error")
    def test_bombs_are_refused_before_they_are_decoded(
        self, width: int, height: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def load(self: Image.Image) -> None:
            pytest.fail("decoded")

        monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
        with pytest.raises(RequestError, match="pixels"):
            open_image(png_header(width, height), MANY)


class TestBadFiles:
    @pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
    def test_truncated_anywhere(self, format: str) -> None:
        noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8))
        content = encoded(noise, format)
        refused = 0
        for length in range(len(content)):
            try:
                open_image(content[:length], MANY)
            except RequestError as error:
                refused += 1
                assert str(error).startswith("The image is ")
        assert refused >= len(content) - 20, "only the last few bytes, after all pixels, may be missing"

    @pytest.mark.filterwarnings("ignore::UserWarning:PIL")
    def test_whatever_is_broken_is_a_request_error(self) -> None:
        """Seeded damage to good files: each opens or is refused in words; nothing else ever comes out."""
        rng, refused = random.Random(4), 0
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6
        exif[ExifTags.Base.XResolution] = 72.0
        good = [encoded(scene(), format, exif=exif) for format in ("PNG", "JPEG", "WEBP")]
        for _ in range(6000):
            content = bytearray(rng.choice(good))
            for _ in range(rng.randint(1, 5)):
                content[rng.randrange(len(content))] = rng.randrange(256)
            try:
                assert open_image(bytes(content), MANY).mode == "RGB"
            except RequestError:
                refused += 1
        assert 500 < refused < 5900

    @pytest.mark.parametrize("content", [b"", b"hello", b"<svg/>", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
    def test_no_image(self, content: bytes) -> None:
        with pytest.raises(RequestError, match="not a readable PNG, JPEG or WEBP file"):
            open_image(content, MANY)

    def test_files_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(RequestError, match=r"none\.png' does not exist"):
            open_image(tmp_path / "none.png", MANY)
        with pytest.raises(RequestError, match="cannot be opened"):
            open_image(tmp_path, MANY)
        with pytest.raises(RequestError, match="is damaged"):
            open_image("a\0b", MANY)


class TestTexts:
    """What stands beside the pixels cannot take them away: Pillow unpacks at most 1 MB of a PNG's text or profile."""

    @pytest.mark.parametrize("late", [False, True])
    def test_a_long_workflow(self, late: bool) -> None:
        text = zlib.compress(b"x" * 3_000_000)
        content = encoded(scene())
        chunk = b"zTXt" + b"workflow\0\0" + text
        at = content.index(b"IEND" if late else b"IDAT") - 4
        content = (
            content[:at]
            + struct.pack(">I", len(chunk) - 4)
            + chunk
            + struct.pack(">I", zlib.crc32(chunk))
            + content[at:]
        )
        assert open_image(content, MANY).tobytes() == scene().tobytes()
        assert image_header(content, MANY) == ("PNG", (24, 16))

    def test_a_large_profile(self, tmp_path: Path) -> None:
        path = tmp_path / "profile.png"
        path.write_bytes(encoded(scene(), icc_profile=bytes(2_000_000)))
        assert open_image(path, MANY).tobytes() == scene().tobytes()

    def test_what_decides_the_look_stays(self) -> None:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 3
        picture = Image.new("P", (2, 1))
        picture.putpalette([9, 9, 9, 0, 0, 250])
        content = encoded(picture, transparency=0, exif=exif, icc_profile=bytes(2_000_000))
        assert pixels(open_image(content, MANY)).tolist() == [[[255] * 3, [255] * 3]]

    def test_a_damaged_png_stays_damaged(self) -> None:
        content = bytearray(encoded(scene(), icc_profile=bytes(2_000_000)))
        content[content.index(b"IDAT") + 12] ^= 255
        with pytest.raises(RequestError, match="is damaged"):
            open_image(bytes(content), MANY)

    def test_the_header_of_a_phones_picture(self) -> None:
        """Two pictures in one JPEG, which Pillow gives a format of its own."""
        content = encoded(scene(), "MPO", save_all=True, append_images=[scene()])
        assert image_header(content, MANY) == ("MPO", (24, 16))
        assert open_image(content, MANY).size == (24, 16)


class TestWithinPixels:
    @pytest.mark.parametrize(
        ("size", "most"), [((100, 50), 5000), ((640, 480), 1024), ((1000, 999), 50_000), ((20_000, 1), 1024), ((1, 20_000), 1024), ((37, 1000), 1024)]
    )  # fmt: skip
    def test_bounded_and_in_proportion(self, size: tuple[int, int], most: int) -> None:
        picture = within_pixels(Image.new("RGB", size, (1, 2, 3)), most)
        width, height = picture.size
        assert 0.8 * min(most, size[0] * size[1]) <= width * height <= most
        if min(width, height) > 4:
            assert width / height == pytest.approx(size[0] / size[1], rel=0.2)
        assert picture.getpixel((0, 0)) == (1, 2, 3)

    def test_small_ones_are_the_same_object(self) -> None:
        picture = scene()
        assert within_pixels(picture, 24 * 16) is picture


class TestDataUrl:
    def test_round_trip(self) -> None:
        head, _, body = data_url(scene()).partition(",")
        assert head == "data:image/png;base64"
        assert open_image(base64.b64decode(body, validate=True), MANY).tobytes() == scene().tobytes()

    def test_nothing_but_pixels_is_sent(self) -> None:
        """No EXIF (where and when a photo was taken), no comment, no colour profile of another colour model."""
        exif = Image.Exif()
        exif[ExifTags.Base.ImageDescription] = "at home"
        opened = open_image(encoded(scene(), "JPEG", exif=exif, comment=b"private", icc_profile=b"P" * 200), MANY)
        sent = Image.open(io.BytesIO(png_bytes(opened)))
        sent.load()
        assert not sent.getexif()
        assert set(sent.info) <= {"dpi"}
        assert b"private" not in png_bytes(opened)
