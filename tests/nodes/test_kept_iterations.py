"""The folder of kept iterations: whole or absent, no larger than it may be, never in the way of a run."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.nodes.comfy_stub import Pack


def batch(seed: int) -> Any:
    return torch.rand((1, 32, 32, 3), generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def store(pack: Pack, tmp_path: Path) -> Any:
    return pack.module("nodes.loop.kept_iterations").KeptIterations(tmp_path / "loops", limit=60_000, spare=0)


def test_what_is_kept_is_there_and_nothing_else(store: Any) -> None:
    assert not store.has("a")
    store.keep("a", [batch(1)], {"judged_x.json": "{}"}, None)
    assert store.has("a")
    assert torch.equal(store.images("a")[0], batch(1))
    assert (store.text("a", "judged_x.json"), store.text("a", "judged_y.json")) == ("{}", None)
    assert store.images("b") is None
    assert [file.name for file in store.folder.rglob("*.part")] == []


def test_later_work_on_the_images_does_not_reach_the_kept_ones(store: Any) -> None:
    images = batch(1)
    store.keep("a", [images], {}, None)
    images.zero_()
    assert torch.equal(store.images("a")[0], batch(1))


def test_images_take_no_memory_of_the_system_once_they_are_on_the_disk(
    pack: Pack, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, given_back = pack.module("nodes.loop.kept_iterations"), []
    monkeypatch.setattr(module, "forget_cached", lambda file: given_back.append((file, file.stat().st_size)))
    store.keep("a", [batch(1)], {"judged_x.json": "{}"}, None)
    store.settle()
    ((file, size),) = given_back
    assert file == store.folder / "a" / "images.safetensors"
    assert size == file.stat().st_size > batch(1).numel() * 4


def test_the_next_iteration_does_not_wait_for_the_disk(pack: Pack, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only who asks for an iteration waits until it is written."""
    module = pack.module("nodes.loop.kept_iterations")
    replace_file, disk, asked = module.replace_file, threading.Event(), threading.Event()

    def slow(path: Path, pieces: Any) -> None:
        disk.wait(20)
        replace_file(path, pieces)

    monkeypatch.setattr(module, "replace_file", slow)
    store.keep("a", [batch(1)], {}, None)
    assert not store.has("b")
    assert store.images("b") is None
    assert not (store.folder / "a" / "images.safetensors").exists(), "nothing has waited for it"
    asking = threading.Thread(target=lambda: store.has("a") and asked.set())
    asking.start()
    assert not asked.wait(0.2)
    disk.set()
    asking.join(20)
    assert asked.is_set()


def test_what_was_not_used_for_the_longest_leaves(store: Any) -> None:
    for number in range(4):  # 12 kB each
        store.keep(str(number), [batch(number)], {}, None)
        store.settle()
        os.utime(store.folder / str(number), (number, number))
    store.images("0")  # used
    store.keep("4", [batch(4)], {}, None)
    store.settle()
    assert [store.has(str(number)) for number in range(5)] == [True, False, True, True, True]


def test_a_nearly_full_disk_gets_nothing(pack: Pack, tmp_path: Path) -> None:
    store = pack.module("nodes.loop.kept_iterations").KeptIterations(tmp_path / "loops", spare=2**62)
    store.keep("a", [batch(1)], {}, None)
    assert not store.has("a")


def test_a_folder_that_cannot_be_written_ends_no_run(pack: Pack, tmp_path: Path) -> None:
    (tmp_path / "loops").write_text("a file where the folder should be")
    store = pack.module("nodes.loop.kept_iterations").KeptIterations(tmp_path / "loops", spare=0)
    store.keep("a", [batch(1)], {}, None)
    assert not store.has("a")
    assert store.images("a") is None
