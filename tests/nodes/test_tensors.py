"""IMAGE tensors on their way to a judge: alpha over white, odd ones refused in one sentence, each by itself."""

from __future__ import annotations

import asyncio
import io
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rationalrewards_core.images import open_image
from rationalrewards_core.pixels import to_rgb
from tests.core import odd_pictures
from tests.nodes.comfy_stub import Pack

ODD_FLOATS = {
    "not a number": (math.nan, "Image 2 holds values that are no numbers"),
    "infinite": (math.inf, "Image 2 holds values that are no numbers"),
    "0 to 255": (255.0, r"Image 2 has values from 0\.2 to 255 where ComfyUI's images go from 0 to 1"),
    "-1 to 1": (-1.0, r"Image 2 has values from -1 to 0\.2 where"),
}


def loaded(content: bytes, mode: str) -> torch.Tensor:
    """[1, H, W, C] as a node hands a picture on."""
    with Image.open(io.BytesIO(content)) as image:
        return torch.from_numpy(np.asarray(image.convert(mode), np.float32) / 255.0)[None]


@pytest.fixture
def tensors(pack: Pack) -> Any:
    return pack.module("nodes.tensors")


@pytest.fixture
def refusal(pack: Pack) -> Any:
    return pack.core("errors").RequestError


class TestPixels:
    @pytest.mark.parametrize(
        "name", ["rgb", "cut-out over black", "cut-out over white", "cut-out webp", "grey with alpha"]
    )
    def test_a_tensor_is_seen_as_its_file_is(self, tensors: Any, name: str) -> None:
        content, seen = odd_pictures.lossless()[name]
        tensor = loaded(content, "RGB" if name == "rgb" else "RGBA")
        picture = tensors.to_pictures(tensor)[0]
        assert np.array_equal(np.asarray(picture), seen)
        assert picture.tobytes() == open_image(content, 10**6).tobytes()
        assert tensors.pictures_and_flaws(tensor)[1] == {}

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_any_float(self, tensors: Any, dtype: torch.dtype) -> None:
        images = torch.full((2, 4, 5, 3), 0.5, dtype=dtype, requires_grad=True)
        assert [p.getpixel((0, 0)) for p in tensors.to_pictures(images)] == [(128, 128, 128)] * 2

    def test_a_little_beyond_is_cut_off_as_previews_do(self, tensors: Any) -> None:
        images = torch.tensor([-0.2, 0.0, 1.2]).expand(1, 2, 2, 3)
        (picture, *_), flaws = tensors.pictures_and_flaws(images)
        assert (picture.getpixel((0, 0)), flaws) == ((0, 0, 255), {})

    def test_there_and_back(self, tensors: Any) -> None:
        picture = Image.fromarray(odd_pictures.scene())
        assert tensors.to_pictures(tensors.to_images([picture]))[0].tobytes() == picture.tobytes()


def as_defined(images: torch.Tensor) -> tuple[list[bytes], dict[int, tuple[float, float]]]:
    """Pixels of each picture, and (lowest, highest) value of those that are not to be judged, without any short cut."""
    pixels, flaws = [], {}
    for index, floats in enumerate(images.float()):
        whole = torch.where(floats.isnan(), 0.0, floats * 255.0 + 0.5).clamp(0.0, 255.0).floor().byte()
        pixels.append(to_rgb(Image.fromarray(whole.contiguous().numpy())).tobytes())
        low, high = float(floats.min()), float(floats.max())
        if not (low >= -0.25 and high <= 1.25):
            flaws[index] = low, high
    return pixels, flaws


LAYOUTS = {
    "as shaped": lambda images: images,
    "planes, as a VAE leaves them": lambda images: images.movedim(-1, 1).contiguous().movedim(1, -1),
    "columns first": lambda images: images.transpose(1, 2).contiguous().transpose(1, 2),
    "every second pixel": lambda images: images.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, ::2, ::2],
    "three of four channels": lambda images: torch.cat([images, images], -1)[..., : images.shape[-1]],
}
ODD_VALUES = (math.nan, math.inf, -math.inf, 3e38, -3e38, 1.0000001, -1e-7, 1.25, -0.25, 1.26, -0.26, 254.5 / 255)


class TestEveryLayout:
    """Pixels and flaws are those of the definition, however a tensor lies in memory and wherever its odd values are."""

    @pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
    @pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
    @pytest.mark.parametrize("shape", [(2, 1, 1, 3), (1, 5, 1, 4), (2, 1, 7, 3), (1, 331, 257, 3), (2, 301, 259, 4)])
    def test_sound(self, tensors: Any, layout: Any, kind: torch.dtype, shape: tuple[int, ...]) -> None:
        images = layout(torch.rand(shape, generator=torch.Generator().manual_seed(1)).to(kind))
        assert images.shape == shape
        pictures, flaws = tensors.pictures_and_flaws(images)
        assert ([picture.tobytes() for picture in pictures], flaws) == (as_defined(images)[0], {})

    @pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
    @pytest.mark.parametrize("value", ODD_VALUES)
    @pytest.mark.parametrize("channels", [3, 4])
    @pytest.mark.filterwarnings("ignore:overflow encountered in multiply")
    def test_one_odd_value(self, tensors: Any, layout: Any, value: float, channels: int) -> None:
        for place in ((0, 0, 0), (-1, -1, -1), (170, 128, 1)):
            images = torch.rand((2, 331, 257, channels), generator=torch.Generator().manual_seed(2))
            images[1][place] = value
            images = layout(images)
            pictures, flaws = tensors.pictures_and_flaws(images)
            pixels, odd = as_defined(images)
            assert [picture.tobytes() for picture in pictures] == pixels
            assert flaws.keys() == odd.keys()
            for index, (low, high) in odd.items():
                finite = math.isfinite(low) and math.isfinite(high)
                assert (f"from {low:.4g} to {high:.4g}" if finite else "no numbers") in flaws[index]


class TestRefusals:
    def test_an_array_is_no_tensor(self, tensors: Any, refusal: Any) -> None:
        with pytest.raises(refusal, match=r"no tensor of images but a ndarray"):
            tensors.to_pictures(np.zeros((1, 8, 8, 3), np.float32))

    @pytest.mark.parametrize(
        "shape", [(8, 8, 3), (2, 8, 8), (1, 3, 8, 8), (1, 8, 8, 1), (1, 8, 8, 2), (1, 2, 8, 8, 3), (8,)]
    )
    def test_shapes(self, tensors: Any, refusal: Any, shape: tuple[int, ...]) -> None:
        for read in (tensors.to_pictures, tensors.sound_pictures, tensors.pictures_and_flaws):
            with pytest.raises(refusal, match=rf"no batch of images: its shape is \{list(shape)}, and ComfyUI's"):
                read(torch.zeros(shape))

    @pytest.mark.parametrize("thing", [None, "picture.png", [], {}])
    def test_what_is_no_tensor(self, tensors: Any, refusal: Any, thing: Any) -> None:
        with pytest.raises(refusal, match="connect an IMAGE output"):
            tensors.to_pictures(thing)

    @pytest.mark.parametrize("shape", [(0, 8, 8, 3), (1, 0, 8, 3)])
    def test_nothing_in_it(self, tensors: Any, refusal: Any, shape: tuple[int, ...]) -> None:
        with pytest.raises(refusal, match="There is no image to judge; the batch is empty"):
            tensors.to_pictures(torch.zeros(shape))

    def test_whole_numbers(self, tensors: Any, refusal: Any) -> None:
        with pytest.raises(refusal, match=r"whole numbers \(torch\.uint8\) .* divide it by 255"):
            tensors.to_pictures(torch.zeros((1, 4, 4, 3), dtype=torch.uint8))

    @pytest.mark.parametrize(("value", "sentence"), ODD_FLOATS.values(), ids=ODD_FLOATS)
    def test_values(self, tensors: Any, refusal: Any, value: float, sentence: str) -> None:
        images = torch.full((3, 4, 4, 3), 0.2)
        images[1, 2, 2, 1] = value
        pictures, flaws = tensors.pictures_and_flaws(images)
        assert list(flaws) == [1]
        assert len(pictures) == 3, "it is shown all the same"
        with pytest.raises(refusal, match=sentence):
            tensors.sound_pictures(images)


class TestNodes:
    """One picture that is none costs the others of its batch nothing."""

    def batch(self, images: Any, value: float) -> Any:
        batch = images(3)
        batch[1, 0, 0, 0] = value
        return batch

    @pytest.mark.parametrize("value", [math.nan, 255.0])
    def test_multi_dim_score(self, pack: Pack, scorer: Any, images: Any, value: float) -> None:
        node = pack.module("nodes.multi_dim_score").MultiDimScore
        judge = scorer((2.0, 2.0, None), (4.0, 4.0, None))
        out = asyncio.run(node.execute(judge, self.batch(images, value), "a cat", 0.8, "", ""))
        rewards, critiques = out.args[0], next(a for a in out.args if hasattr(a, "outcomes"))
        assert rewards[0] == pytest.approx(1 / 3)
        assert math.isnan(rewards[1])
        assert rewards[2] == 1.0
        assert critiques.outcomes[1].reason == "bad_request"
        assert judge.calls[0]["count"] == 2, "no judge is paid for it"
        cards = out.ui["rr_critique"]
        assert [card["reward"] for card in cards] == [pytest.approx(1 / 3), None, 1.0]
        assert "Image 2" in cards[1]["unscored"]["message"]

    def test_rational_critique(self, pack: Pack, scorer: Any, images: Any) -> None:
        node = pack.module("nodes.rational_critique").RationalCritique
        judge = scorer((4.0, 4.0, None), (1.0, 1.0, None))
        out = asyncio.run(node.execute(judge, self.batch(images, math.inf), "a cat"))
        assert out.args[0].rewards == (1.0, None, 0.0)

    def test_a_batch_of_nothing_else(self, pack: Pack, scorer: Any, images: Any, refusal: Any) -> None:
        node = pack.module("nodes.rational_critique").RationalCritique
        with pytest.raises(refusal, match="Image 1 holds values that are no numbers"):
            asyncio.run(node.execute(scorer(), images(2) * math.nan, "a cat"))

    def test_an_empty_batch(self, pack: Pack, scorer: Any, images: Any, refusal: Any) -> None:
        node = pack.module("nodes.multi_dim_score").MultiDimScore
        with pytest.raises(refusal, match="the batch is empty"):
            asyncio.run(node.execute(scorer(), images(2)[:0], "a cat", 0.8, "", ""))

    @pytest.mark.parametrize("odd", ["source", "first"])
    def test_sources_and_compared_images(self, pack: Pack, scorer: Any, images: Any, refusal: Any, odd: str) -> None:
        bad, good = images(1) * 255.0, images(1)
        if odd == "source":
            node = pack.module("nodes.rational_critique").RationalCritique
            work = node.execute(scorer(), good, "make it red", source_image=bad)
        else:
            work = pack.module("nodes.compare_images").CompareImages.execute(scorer(), bad, good, "a cat", "pointwise")
        with pytest.raises(refusal, match="where ComfyUI's images go from 0 to 1"):
            asyncio.run(work)


class RecordingClip:
    """As much of ComfyUI's Qwen3-VL as it takes to see what it is fed."""

    def __init__(self) -> None:
        self.fed: list[torch.Tensor] = []
        self.tokenizer = SimpleNamespace(clip_name="qwen3vl_8b")
        model = SimpleNamespace(visual=SimpleNamespace(patch_size=16, spatial_merge_size=2), generate=None)
        self.cond_stage_model = SimpleNamespace(qwen3vl_8b=SimpleNamespace(transformer=model))

    def generate(self) -> None: ...

    def decode(self) -> None: ...

    def tokenize(self, text: str, images: list[torch.Tensor]) -> dict[str, Any]:
        self.fed += images
        return {}


@pytest.mark.parametrize("name", odd_pictures.lossless())
def test_the_cores_own_model_sees_what_the_others_see(pack: Pack, refusal: Any, name: str) -> None:
    content, seen = odd_pictures.lossless()[name]
    messages = pack.core("messages")
    clip = RecordingClip()
    engine = pack.module("nodes.judge.comfy_clip").ClipEngine(clip, max_pixels=802_816, min_pixels=1)
    opened = open_image(content, 10**6) if name == "long text" else Image.open(io.BytesIO(content))
    with pytest.raises(refusal, match="does not take images"):  # it took none: what it was fed is all that counts
        asyncio.run(engine.reply([messages.Message("user", (opened, Image.fromarray(seen)))], None))
    assert len(clip.fed) == 2
    assert clip.fed[0].equal(clip.fed[1])
