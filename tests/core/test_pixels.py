"""One way in for pictures: every encoding, every entry point and every engine end at the same RGB."""

from __future__ import annotations

import asyncio
import base64
import gc
import io
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from rationalrewards_core.backends.openai_wire import wire_messages
from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.critique import Unscored
from rationalrewards_core.errors import RequestError
from rationalrewards_core.images import open_image
from rationalrewards_core.judged import Case
from rationalrewards_core.memo import memo_key
from rationalrewards_core.messages import Message, UserRequest, critique_messages
from rationalrewards_core.pixels import judgeable, to_rgb
from rationalrewards_core.rubric_file import edit_rubric
from rationalrewards_core.scorer import Scorer
from tests.core import odd_pictures

MANY = 1_000_000
REQUEST = "a red block and a blue one"
LOSSLESS = odd_pictures.lossless()
PHOTOGRAPHS = odd_pictures.photographs()


def opened(content: bytes) -> Image.Image:
    """As people open a file for `Case`. Pillow refuses long texts by itself, before anything of ours sees them."""
    try:
        return Image.open(io.BytesIO(content))
    except ValueError:
        return open_image(content, MANY)


class TestToRgb:
    @pytest.mark.parametrize("name", LOSSLESS)
    def test_files(self, name: str) -> None:
        content, seen = LOSSLESS[name]
        for picture in (to_rgb(opened(content)), open_image(content, MANY)):
            assert picture.mode == "RGB"
            assert np.array_equal(np.asarray(picture), seen)

    @pytest.mark.parametrize("name", PHOTOGRAPHS)
    def test_photographs(self, name: str) -> None:
        picture = to_rgb(opened(PHOTOGRAPHS[name]))
        assert picture.tobytes() == open_image(PHOTOGRAPHS[name], MANY).tobytes()
        seen = odd_pictures.scene() if "grey" not in name else odd_pictures.rgb(odd_pictures.grey())
        assert np.abs(np.asarray(picture).astype(int) - seen).mean() < 4

    @pytest.mark.parametrize("name", odd_pictures.in_memory())
    def test_pictures_of_no_file(self, name: str) -> None:
        make, seen = odd_pictures.in_memory()[name]
        error = np.abs(np.asarray(to_rgb(make())).astype(int) - seen)
        # Reducing to a palette changes colours; what is clear stays exactly white.
        assert error[odd_pictures.CLEAR].max() == 0
        assert error.mean() < (12 if "palette" in name else 0.01)

    @pytest.mark.parametrize("name", [*LOSSLESS, *PHOTOGRAPHS])
    def test_twice_is_once(self, name: str) -> None:
        content = LOSSLESS[name][0] if name in LOSSLESS else PHOTOGRAPHS[name]
        once = to_rgb(opened(content))
        assert to_rgb(once) is once

    def test_plain_rgb_is_the_same_object(self, picture: Image.Image) -> None:
        assert to_rgb(picture) is picture

    @pytest.mark.parametrize("mode", ["F", "I"])
    def test_a_picture_without_a_stated_range(self, mode: str) -> None:
        with pytest.raises(RequestError, match=f"mode {mode} has no stated range of values; convert it to RGB first"):
            to_rgb(Image.new(mode, (4, 4)))

    @pytest.mark.parametrize("thing", [None, "picture.png", np.zeros((4, 4, 3), np.uint8), b"\x89PNG"])
    def test_what_is_no_picture(self, thing: Any) -> None:
        with pytest.raises(RequestError, match=f"must be a PIL image, not {type(thing).__name__}"):
            to_rgb(thing)

    def test_no_pixels(self) -> None:
        with pytest.raises(RequestError, match="has no pixels"):
            to_rgb(Image.new("RGB", (0, 5)))

    def test_a_file_closed_too_early(self, tmp_path: Path, picture: Image.Image) -> None:
        picture.save(tmp_path / "picture.png")
        with Image.open(tmp_path / "picture.png") as closed:
            pass
        with pytest.raises(RequestError, match="cannot be read"):
            to_rgb(closed)

    @pytest.mark.parametrize("exif", [b"Exif\0\0II*\0", b"Exif\0\0nothing", b"\xff" * 40])
    def test_broken_exif_beside_whole_pixels(self, exif: bytes) -> None:
        buffer = io.BytesIO()
        Image.fromarray(odd_pictures.scene()).save(buffer, format="PNG", exif=exif)
        assert np.array_equal(np.asarray(to_rgb(opened(buffer.getvalue()))), odd_pictures.scene())


class TestStrips:
    @pytest.mark.parametrize(
        ("size", "fits"), [((1, 200), True), ((600, 3), True), ((1, 201), False), ((4096, 1), False)]
    )
    def test_proportions(self, size: tuple[int, int], fits: bool) -> None:
        if fits:
            assert judgeable(Image.new("RGB", size)).size == size
            return
        with pytest.raises(RequestError, match="no side may be more than 200 times the other"):
            judgeable(Image.new("RGB", size))


class TestOneBadPicture:
    """It is unscored by itself: those judged beside it lose nothing."""

    def bad(self, kind: str, tmp_path: Path) -> Any:
        if kind == "strip":
            return Image.new("RGB", (4096, 1))
        if kind == "no picture":
            return np.zeros((4, 4, 3))
        file = tmp_path / "cut.png"
        file.write_bytes(LOSSLESS["cut-out over black"][0][:300])
        return Image.open(file)

    @pytest.mark.parametrize("kind", ["strip", "no picture", "cut off"])
    @pytest.mark.parametrize("place", ["candidate", "source"])
    def test_in_score_many(self, kind: str, place: str, tmp_path: Path, picture: Image.Image, reply_text: Any) -> None:
        bad = self.bad(kind, tmp_path)
        good = Case(UserRequest(REQUEST), picture)
        case = Case(UserRequest(REQUEST), bad) if place == "candidate" else Case(UserRequest(REQUEST, (bad,)), picture)
        scorer = Scorer(ScriptedBackend(lambda *_: reply_text()))
        outcomes = asyncio.run(scorer.score_many([good, case, good])).outcomes
        assert [isinstance(outcome, Unscored) for outcome in outcomes] == [False, True, False]
        assert isinstance(outcomes[1], Unscored)
        assert outcomes[1].reason == "bad_request"
        assert "icture" in outcomes[1].message

    def test_a_failure_does_not_keep_its_picture_in_memory(self) -> None:
        """A server whose judge fails would fill up with pictures until Python happens to look for cycles."""

        async def work() -> None:
            scorer = Scorer(ScriptedBackend(lambda *_: "nonsense"))
            scorer.backend.calls = NothingKept()  # type: ignore[attr-defined]
            picture = Image.new("RGB", (8, 8))
            gone = weakref.ref(picture)
            outcome = (await scorer.score_many([Case(UserRequest(REQUEST), picture)])).outcomes[0]
            del picture
            assert isinstance(outcome, Unscored)
            assert gone() is None

        gc.disable()
        try:
            asyncio.run(work())
        finally:
            gc.enable()


class NothingKept(list[Any]):
    def append(self, call: Any) -> None: ...


class TestMessages:
    def test_they_hold_plain_rgb(self) -> None:
        message = Message("user", tuple(opened(content) for content, _ in LOSSLESS.values()))
        assert [np.asarray(image).tobytes() for image in message.images] == [s.tobytes() for _, s in LOSSLESS.values()]
        assert {image.mode for image in message.images} == {"RGB"}

    def test_two_palettes_are_two_questions_for_the_memo(self) -> None:
        keys = set()
        for colour in ((250, 0, 0), (0, 0, 250)):
            picture = Image.new("P", (8, 8))
            picture.putpalette(colour)
            messages = [Message("user", (picture,))]
            keys.add(
                memo_key("judge", messages, Scorer(ScriptedBackend([]))._sampling(edit_rubric(), "score"), "score")
            )
        assert len(keys) == 2


@pytest.fixture(scope="module")
def local() -> Any:
    from rationalrewards_core.backends.checkpoint import CheckpointConfig, load_checkpoint
    from rationalrewards_core.miniature import scorer_folder

    return load_checkpoint(CheckpointConfig(model=str(scorer_folder()), precision="fp32", device="cpu"))


def test_pictures_are_scaled_by_pillow_with_torchvision_or_without(local: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """ComfyUI brings torchvision, the command line does not; the image processor must be one and the same."""
    from transformers.models.auto import image_processing_auto

    from rationalrewards_core.backends.checkpoint import CheckpointConfig, load_checkpoint
    from rationalrewards_core.miniature import scorer_folder

    asked: list[str] = []
    original = image_processing_auto._load_backend_class

    def load(name: str, backend: str, *more: Any) -> Any:
        asked.append(backend)
        return original(name, backend, *more)

    monkeypatch.setattr(image_processing_auto, "_load_backend_class", load)
    monkeypatch.setattr(image_processing_auto, "is_torchvision_available", lambda: True)
    load_checkpoint(CheckpointConfig(model=str(scorer_folder()), precision="fp32", device="cpu"))
    assert asked == ["pil"]
    assert type(local.image_processor).__name__ == "Qwen2VLImageProcessorPil"


SIZES = [
    (1152, 896),
    (1536, 1024),
    (1216, 832),
    (4096, 512),
    (1344, 768),
    (896, 896),
    (900, 890),
    (100, 60),
    (2000, 11),
]


class TestLargePictures:
    """What the client scales down for a server is what the local engine's processor makes of it."""

    def processor(self, most: int) -> Any:
        from transformers import Qwen2VLImageProcessorPil

        size = {"shortest_edge": 65_536, "longest_edge": most}
        return Qwen2VLImageProcessorPil(size=size, patch_size=16, merge_size=2, temporal_patch_size=2)

    @pytest.mark.parametrize("size", SIZES)
    def test_a_server_finds_nothing_to_scale(self, size: tuple[int, int]) -> None:
        picture = Image.fromarray(odd_pictures.scene()).resize(size, Image.Resampling.BILINEAR)
        wire = wire_messages([Message("user", (picture,))], 802_816)
        sent = Image.open(io.BytesIO(base64.b64decode(wire[0]["content"][0]["image_url"]["url"].partition(",")[2])))
        local, server = self.processor(802_816), self.processor(16_777_216)
        here, there = local([picture], return_tensors="np"), server([sent], return_tensors="np")
        assert (here["image_grid_thw"] == there["image_grid_thw"]).all()
        assert (here["pixel_values"] == there["pixel_values"]).all()


class TestEnginesSeeTheSame:
    """The same case in every form a file can have, as the local engine and as a server's own processor see it."""

    def seen_by_local(self, local: Any, messages: Any) -> Any:
        from rationalrewards_core.backends.qwen_chat import model_inputs

        return model_inputs(local, [messages])["pixel_values"]

    def seen_by_server(self, local: Any, messages: Any) -> Any:
        wire = wire_messages(messages, MANY)
        parts = [part for message in wire if isinstance(message["content"], list) for part in message["content"]]
        urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        sent = [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]
        assert [picture.mode for picture in sent] == ["RGB"] * len(sent)
        assert not any(picture.getexif() for picture in sent)
        return local.image_processor(sent, return_tensors="pt")["pixel_values"]

    @pytest.mark.parametrize("name", [*LOSSLESS, *PHOTOGRAPHS])
    def test_candidate_and_source(self, local: Any, name: str) -> None:
        content = LOSSLESS[name][0] if name in LOSSLESS else PHOTOGRAPHS[name]
        python = critique_messages(UserRequest(REQUEST, (opened(content),)), opened(content), edit_rubric())
        door = open_image(content, MANY)
        command_line = critique_messages(UserRequest(REQUEST, (door,)), door, edit_rubric())
        fed = [
            see(local, messages)
            for messages in (python, command_line)
            for see in (self.seen_by_local, self.seen_by_server)
        ]
        assert all((other == fed[0]).all() for other in fed[1:])
        if name in LOSSLESS:
            right = [Image.fromarray(LOSSLESS[name][1])] * 2
            assert (fed[0] == local.image_processor(right, return_tensors="pt")["pixel_values"]).all()


OTHERS = (
    "rationalrewards_core/pixels.py",
    "training/lab/miniature",
    "training/lab/parrot_proof",
    "training/lab/teacher",
    "training/nft/metrics.py",
)
"""Where pictures are made into RGB for something else than a judge's eyes, and the one place for those."""


def test_there_is_no_second_way_in() -> None:
    """`convert("RGB")` shows hidden colours, loses 16 bits and forgets which way is up."""
    root = Path(__file__).resolve().parents[2]
    files = [
        file for package in ("rationalrewards_core", "nodes", "training") for file in (root / package).rglob("*.py")
    ]
    assert len(files) > 150
    found = [file.relative_to(root).as_posix() for file in files if 'convert("RGB")' in file.read_text("utf-8")]
    assert [name for name in found if not name.startswith(OTHERS)] == []


def test_an_orientation_is_undone_once() -> None:
    """A turned picture that kept its EXIF would be turned again wherever it is looked at next."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    buffer = io.BytesIO()
    Image.new("RGBA", (6, 4), (1, 2, 3, 0)).save(buffer, format="PNG", exif=exif)
    plain = to_rgb(opened(buffer.getvalue()))
    assert plain.size == (4, 6)
    assert Message("user", (plain,)).images[0].size == (4, 6)
    assert not plain.info
