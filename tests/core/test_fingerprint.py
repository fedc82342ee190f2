"""A judge is the files it is made of: whatever is replaced in its folder makes it another one."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import load_file, save_file

from rationalrewards_core.backends.checkpoint import CheckpointConfig
from rationalrewards_core.backends.fingerprint import folder_fingerprint
from rationalrewards_core.backends.transformers_local import TransformersLocal
from rationalrewards_core.miniature import scorer_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(scorer_folder(), tmp_path / "judge"))


def local(folder: Path, adapter: Path | None = None) -> TransformersLocal:
    config = CheckpointConfig(
        model=str(folder), precision="fp32", device="cpu", adapter=None if adapter is None else str(adapter)
    )
    return TransformersLocal(config)


def replace_weights(folder: Path) -> None:
    """Other weights of the same shapes, so that the file keeps its size."""
    file = folder / "model.safetensors"
    save_file({name: -weight for name, weight in load_file(file).items()}, file, {"format": "pt"})


def test_weights_replaced_in_the_same_folder_are_another_judge(folder: Path) -> None:
    engine = local(folder)
    before = engine.identity
    assert local(folder).identity == before
    replace_weights(folder)
    assert engine.identity != before


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "chat_template.jinja", "preprocessor_config.json"])
def test_every_file_of_a_judge_counts_by_its_content(name: str, folder: Path) -> None:
    before = local(folder).identity
    file = folder / name
    content, status = file.read_bytes(), file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    assert local(folder).identity == before, "a copy of the same is the same judge"
    file.write_bytes(content.replace(b"e", b"f", 1))
    assert local(folder).identity != before


def test_an_adapter_trained_again_is_another_judge(folder: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    (adapter / "adapter_model.safetensors").write_bytes(b"first")
    before = local(folder, adapter).identity
    assert before != local(folder).identity
    (adapter / "adapter_model.safetensors").write_bytes(b"other")
    assert local(folder, adapter).identity != before


@pytest.mark.model
def test_a_loaded_judge_keeps_the_name_of_what_it_was_loaded_from(folder: Path) -> None:
    engine = local(folder)
    engine.load()
    before = engine.identity
    replace_weights(folder)
    assert engine.identity == before
    engine.unload()
    assert engine.identity != before


def test_what_is_no_folder_has_no_fingerprint(tmp_path: Path) -> None:
    assert folder_fingerprint(tmp_path / "nowhere") == folder_fingerprint(tmp_path) == ""
