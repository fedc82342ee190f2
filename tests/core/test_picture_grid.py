"""Pictures are scaled before they are sent as the checkpoint's own image processor scales them: it finds nothing left to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rationalrewards_core.backends.openai_wire import wire_messages
from rationalrewards_core.messages import Message
from rationalrewards_core.miniature import scorer_folder
from rationalrewards_core.picture_grid import PictureGrid, grid_of_folder, grid_of_side

SIZES = [
    (1152, 896), (1536, 1024), (1216, 832), (4096, 512), (1344, 768), (1024, 1024), (512, 512), (832, 1216), (128, 128),
    (61, 61), (130, 130), (33, 200), (1920, 1080), (640, 1536), (100, 3000),
]  # fmt: skip
"""SDXL's and FLUX's, screens, thumbnails and strips."""
QWEN3 = {"patch_size": 16, "size": {"shortest_edge": 65_536, "longest_edge": 16_777_216}}
QWEN2_5 = {"patch_size": 14, "min_pixels": 3_136, "max_pixels": 12_845_056}
MAX_PIXELS = 802_816


def noise(size: tuple[int, int]) -> Image.Image:
    rng = np.random.default_rng(list(size))
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def processor_of(stated: dict[str, Any], max_pixels: int) -> Any:
    """transformers' own image processor, limited as the local engine limits it."""
    transformers = pytest.importorskip("transformers")
    least = stated.get("min_pixels") or stated["size"]["shortest_edge"]
    most = stated.get("max_pixels") or stated["size"]["longest_edge"]
    kind = getattr(transformers, "Qwen2VLImageProcessorPil", None) or transformers.Qwen2VLImageProcessor
    return kind(
        patch_size=stated["patch_size"],
        merge_size=2,
        size={"shortest_edge": min(least, max_pixels), "longest_edge": min(most, max_pixels)},
    )


def written(folder: Path, stated: dict[str, Any]) -> Path:
    (folder / "preprocessor_config.json").write_text(json.dumps({"merge_size": 2, "resample": 3, **stated}))
    return folder


@pytest.mark.model
@pytest.mark.parametrize("stated", [QWEN3, QWEN2_5], ids=["qwen3-vl", "qwen2.5-vl"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_judge_sees_the_same_patches(size: tuple[int, int], stated: dict[str, Any], tmp_path: Path) -> None:
    """Those that the processor makes of the picture itself, whether the grid is read or only its side is known."""
    processor = processor_of(stated, MAX_PIXELS)
    local = processor(noise(size), return_tensors="np")
    stated_grid = grid_of_folder(written(tmp_path, stated))
    shown_grid = grid_of_side(2 * int(stated["patch_size"]))
    for grid in (stated_grid, shown_grid):
        assert grid is not None
        sent = grid.fit(noise(size), MAX_PIXELS)
        there = processor_of(stated, 16_777_216)(sent, return_tensors="np")  # a server with limits of its own
        assert there["image_grid_thw"].tolist() == local["image_grid_thw"].tolist()
        assert np.array_equal(there["pixel_values"], local["pixel_values"])


def test_the_miniature_states_its_own_grid() -> None:
    grid = grid_of_folder(scorer_folder())
    assert grid == PictureGrid(8, 2304, 2304, Image.Resampling.BICUBIC)
    assert {grid.fit(noise(size), MAX_PIXELS).size for size in ((48, 48), (512, 512))} == {(48, 48)}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"patch_size": 14}', '{"size": {"height": 448}}', '{"size": 3}'])
def test_the_settings_of_another_family_are_no_grid(content: str, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(content)
    assert grid_of_folder(tmp_path) is None
    assert grid_of_folder(tmp_path / "none") is None
    assert grid_of_side(16) is None


def test_a_picture_that_fits_is_sent_as_it_is() -> None:
    picture = noise((512, 512))
    assert PictureGrid(32, 65_536).fit(picture, MAX_PIXELS) is picture


def test_a_size_that_would_be_scaled_twice_is_left_to_the_server() -> None:
    """The miniature's least and most pixels are one number: 96 x 64 would become 56 x 40, which is below the least."""
    grid = PictureGrid(8, 2304, 2304)
    wide = noise((96, 64))
    assert grid.fit(wide, MAX_PIXELS) is wide
    assert grid.fit(noise((96, 96)), MAX_PIXELS).size == (48, 48)


def test_messages_carry_scaled_pictures() -> None:
    (message,) = wire_messages([Message("user", (noise((61, 61)), "?"))], MAX_PIXELS, PictureGrid(32, 65_536))
    (plain,) = wire_messages([Message("user", (noise((61, 61)), "?"))], MAX_PIXELS)
    urls = [found["content"][0]["image_url"]["url"] for found in (message, plain)]
    assert len(urls[0]) > len(urls[1])
