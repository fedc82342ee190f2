"""The vision tower: once per picture, what it is given and gives, what it forgets."""

from __future__ import annotations

import math
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from PIL import Image

from rationalrewards_core.backends.decoding import image_features
from rationalrewards_core.backends.decoding.flat_vision import gelu_
from rationalrewards_core.backends.decoding.image_features import ImageFeatures, VisionTower
from rationalrewards_core.errors import RequestError
from tests.core.decoding.random_checkpoint import picture, random_checkpoint


def tower(seed: int = 0) -> VisionTower:
    checkpoint = random_checkpoint(seed)
    return VisionTower(checkpoint.model.model, checkpoint.image_processor, "cpu")


def seen(vision: VisionTower, *images: Any) -> list[ImageFeatures]:
    with torch.inference_mode():
        return vision.features([vision.picture(image) for image in images])


@pytest.mark.parametrize("seed", [0, 1])
def test_features_are_the_models_own_whatever_company_a_picture_has(seed: int) -> None:
    vision, core = tower(seed), random_checkpoint(seed).model.model
    images = [picture(1), picture(2, 60, 16), picture(3, 16, 40)]
    for image, features in zip(images, seen(vision, *images), strict=True):
        encoded = random_checkpoint(seed).image_processor([image], return_tensors="pt")
        with torch.inference_mode():
            output = core.visual(encoded["pixel_values"], grid_thw=encoded["image_grid_thw"])
        torch.testing.assert_close(features.pooled, output.pooler_output, atol=1e-5, rtol=1e-5)
        assert len(features.deepstack) == len(output.deepstack_features) == 1 + seed
        for ours, theirs in zip(features.deepstack, output.deepstack_features, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_it_runs_once_per_picture() -> None:
    vision = tower()
    first, second, again = seen(vision, picture(1), picture(2), picture(1))
    assert vision.runs == 2
    assert torch.equal(first.pooled, again.pooled)
    assert not torch.equal(first.pooled, second.pooled)
    kept = seen(vision, picture(2), picture(3))
    assert vision.runs == 3
    assert kept[0] is second
    assert vision.picture(picture(1)).patches is None, "patches of a picture it knows are not cut again"


def test_many_pictures_pass_the_tower_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [picture(number) for number in range(5)]
    together = seen(tower(), *images)
    vision = tower()
    patches = math.prod(vision.picture(images[0]).grid)
    monkeypatch.setattr(image_features, "PATCHES", 2 * patches + 1)
    groups: list[int] = []
    alike = vision._alike
    monkeypatch.setattr(vision, "_alike", lambda pictures: (groups.append(len(pictures)), alike(pictures))[1])
    for one, other in zip(seen(vision, *images), together, strict=True):
        torch.testing.assert_close(one.pooled, other.pooled, atol=1e-5, rtol=1e-5)
    assert groups == [2, 2, 1]


def test_a_picture_larger_than_a_group_passes_the_tower_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_features, "PATCHES", 1)
    vision = tower()
    assert len(seen(vision, picture(1), picture(2))) == vision.runs == 2


def test_the_same_bytes_in_another_size_are_another_picture() -> None:
    image = picture(1, 32, 16)
    turned = Image.frombytes("RGB", (16, 32), image.tobytes())
    vision = tower()
    assert vision.picture(image).key != vision.picture(turned).key
    assert vision.picture(image).key == tower().picture(image.copy()).key


def test_pictures_of_long_ago_are_forgotten_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    vision = tower()
    one = seen(vision, picture(0))[0].nbytes
    assert one == 4 * 48 * 9 * 2, "nine tokens of the tower's output and of one deepstack layer, in fp32"
    monkeypatch.setattr(image_features, "FEATURE_BYTES", 3 * one)
    for number in range(1, 4):
        seen(vision, picture(number), picture(0))
    assert vision.runs == 4, "the one asked about again and again stays"
    seen(vision, picture(3), picture(2))
    assert vision.runs == 4
    seen(vision, picture(1))
    assert vision.runs == 5


def test_one_picture_larger_than_all_room_is_kept_until_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_features, "FEATURE_BYTES", 1)
    vision = tower()
    first = seen(vision, picture(0), picture(1))
    assert len(first) == 2
    seen(vision, picture(1))
    assert vision.runs == 2
    seen(vision, picture(0))
    assert vision.runs == 3


def test_what_the_processor_refuses_is_a_bad_request() -> None:
    """The last guard: every way in refuses what is too narrow before."""
    with pytest.raises(RequestError, match="2000 x 8 pixels cannot be judged"):
        tower().picture(picture(0).resize((2000, 8)))


def test_gelu_in_place_is_torchs_own_by_tanh() -> None:
    values = torch.linspace(-12.0, 12.0, 4_001).view(-1, 1)
    expected = torch.nn.functional.gelu(values, approximate="tanh")
    torch.testing.assert_close(gelu_(values.clone()), expected, rtol=2e-6, atol=1e-6)
