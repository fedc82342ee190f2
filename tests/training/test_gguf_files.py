"""The miniature scorer's tensors under llama.cpp's names; what llama.cpp makes of them is `benchmarks.llama_cpp`'s to say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rationalrewards_core.miniature import scorer_folder
from training.lab.miniature.gguf_files import gguf_tensors, mixed_form, read_safetensors

CONFIG = json.loads((scorer_folder() / "config.json").read_text(encoding="utf-8"))
TAPPED = CONFIG["vision_config"]["deepstack_visual_indexes"]


def test_tensors_are_read_as_safetensors_reads_them() -> None:
    from safetensors.torch import load_file

    theirs = load_file(scorer_folder() / "model.safetensors")
    ours = dict(read_safetensors(scorer_folder() / "model.safetensors"))
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(tensor, theirs[name].float().numpy()) for name, tensor in ours.items())


def test_another_precision_is_refused_by_name(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(2, dtype=torch.float16)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="w is F16; only BF16 and F32"):
        list(read_safetensors(tmp_path / "model.safetensors"))


def test_every_tensor_has_a_name_of_its_own() -> None:
    sizes: dict[str, int] = {}
    total = 0
    for name, tensor in read_safetensors(scorer_folder() / "model.safetensors"):
        parts = gguf_tensors(name, tensor, TAPPED)
        assert not sizes.keys() & parts.keys(), name
        assert sum(part.size for part in parts.values()) == tensor.size
        sizes.update({part_name: part.size for part_name, part in parts.items()})
        total += tensor.size
    assert sum(sizes.values()) == total
    layers, blocks = CONFIG["text_config"]["num_hidden_layers"], CONFIG["vision_config"]["depth"]
    assert {f"blk.{n}.attn_q_norm.weight" for n in range(layers)} <= sizes.keys()
    assert {f"v.blk.{n}.attn_qkv.bias" for n in range(blocks)} <= sizes.keys()
    assert {f"v.deepstack.{n}.fc1.weight" for n in TAPPED} <= sizes.keys()
    assert {"token_embd.weight", "output_norm.weight", "v.patch_embd.weight", "v.patch_embd.weight.1"} <= sizes.keys()


def test_an_unknown_tensor_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model\.audio\.proj\.weight has no name in GGUF"):
        gguf_tensors("model.audio.proj.weight", np.zeros((2, 2), np.float32), TAPPED)


def test_q4_k_m_has_more_bits_where_llama_cpp_gives_them() -> None:
    """Of an 8B judge's 36 layers the first and last eighth and every third between; rows of no whole block fall back."""
    finer = [n for n in range(36) if mixed_form(f"blk.{n}.ffn_down.weight", 12_288, 36) == "Q6_K"]
    assert finer == [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 31, 32, 33, 34, 35]
    assert mixed_form("blk.0.ffn_up.weight", 4_096, 36) == "Q4_K"
    forms = {
        n: (mixed_form(f"blk.{n}.attn_v.weight", 192, 4), mixed_form(f"blk.{n}.ffn_down.weight", 512, 4))
        for n in range(4)
    }
    assert forms == {0: ("Q5_0", "Q4_K"), 1: ("Q5_0", "Q4_K"), 2: ("Q8_0", "Q6_K"), 3: ("Q8_0", "Q6_K")}
    assert mixed_form("token_embd.weight", 192, 4) == "Q8_0"
