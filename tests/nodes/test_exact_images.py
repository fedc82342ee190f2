"""Kept images are what they were, value for value, and take no more room than that needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tests.nodes.comfy_stub import Pack

SHAPE = (2, 16, 24, 3)


def drawn(kind: torch.dtype = torch.float32) -> Any:
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(3)).to(kind)


def kept(pack: Pack, tmp_path: Path, batches: list[Any]) -> tuple[list[Any], int]:
    images = pack.module("nodes.loop.exact_images")
    file = tmp_path / "images.safetensors"
    file.write_bytes(b"".join(images.image_bytes(batches)))
    return images.read_images(file), file.stat().st_size


@pytest.mark.parametrize(
    ("batch", "bytes_each"),
    [
        (drawn(), 4),
        (drawn() * 3 - 1, 4),
        (drawn(torch.float16), 2),
        (drawn(torch.float16).float(), 2),
        (drawn(torch.bfloat16), 2),
        (drawn(torch.float64), 8),
        ((drawn() * 255).byte().float() / 255, 1),
        (torch.zeros(SHAPE), 1),
        (torch.full(SHAPE, float("nan")), 4),
    ],
)
def test_every_value_and_the_type_come_back(pack: Pack, tmp_path: Path, batch: Any, bytes_each: int) -> None:
    (read,), size = kept(pack, tmp_path, [batch])
    assert read.dtype == batch.dtype
    assert torch.equal(read.nan_to_num(7.0), batch.nan_to_num(7.0))
    assert batch.numel() * bytes_each < size < batch.numel() * bytes_each + 500


def test_one_value_that_a_smaller_type_lacks_keeps_the_larger(pack: Pack, tmp_path: Path) -> None:
    batch = (drawn() * 255).byte().float() / 255
    batch[1, 15, 23, 2] = 0.1234567
    (read,), size = kept(pack, tmp_path, [batch])
    assert torch.equal(read, batch)
    assert size > batch.numel() * 4


def test_several_batches_and_views_of_larger_ones(pack: Pack, tmp_path: Path) -> None:
    batches = [drawn()[:1], drawn().permute(0, 2, 1, 3)]
    read, _ = kept(pack, tmp_path, batches)
    assert all(torch.equal(one, other) for one, other in zip(read, batches, strict=True))


@pytest.mark.parametrize("batch", [drawn(), drawn(torch.bfloat16), (drawn() * 255).byte().float() / 255])
def test_planes_are_kept_as_they_lie(pack: Pack, tmp_path: Path, batch: Any) -> None:
    """A VAE's image comes back in the layout that it had, beside one in the usual layout."""
    planes = batch.movedim(-1, 1).contiguous().movedim(1, -1)
    (first, second), size = kept(pack, tmp_path, [planes, batch])
    assert torch.equal(first, batch)
    assert (first.dtype, first.stride()) == (planes.dtype, planes.stride())
    assert torch.equal(second, batch)
    assert second.is_contiguous()
    assert size == kept(pack, tmp_path, [batch, planes])[1]


def test_files_of_older_packs_are_read_and_theirs_refuse_planes(pack: Pack, tmp_path: Path) -> None:
    """Older packs look for a mark of their own, which files with planes therefore lack."""
    mark = {"rationalrewards.bytes": '["torch.float32"]'}
    save_file({"0": drawn()}, tmp_path / "older.safetensors", {"format": "pt", **mark})
    (read,) = pack.module("nodes.loop.exact_images").read_images(tmp_path / "older.safetensors")
    assert torch.equal(read, drawn())
    kept(pack, tmp_path, [drawn().movedim(-1, 1).contiguous().movedim(1, -1)])
    with safe_open(tmp_path / "images.safetensors", framework="pt") as opened:
        assert not mark.keys() & opened.metadata().keys()


def test_a_torn_file_is_a_value_error(pack: Pack, tmp_path: Path) -> None:
    kept(pack, tmp_path, [drawn()])
    file = tmp_path / "images.safetensors"
    for length in (0, 5, 100, file.stat().st_size - 1):
        file.write_bytes(file.read_bytes()[:length])
        with pytest.raises(ValueError, match=r"."):
            pack.module("nodes.loop.exact_images").read_images(file)
