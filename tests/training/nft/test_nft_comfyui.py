"""The saved LoRA in ComfyUI's own loader: every key is taken, and the weights become those of the fused adapter."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("peft")

import diffusers
import torch
from safetensors.torch import load_file, save_file

from training.nft.config import ModelConfig, PolicyConfig
from training.nft.families import family_class
from training.nft.lora_file import FILE, save_weights
from training.nft.policy import LoraPolicy

HERE = Path(__file__).parent


def _tiny() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tiny_pipelines", HERE / "tiny_pipelines.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TINY = _tiny()


def sd3() -> Any:
    """ComfyUI knows only widths of 64 times the depth."""
    pipeline = TINY.sd3()
    pipeline.transformer = diffusers.SD3Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=16, num_layers=2, attention_head_dim=64, num_attention_heads=2,
        joint_attention_dim=64, caption_projection_dim=128, pooled_projection_dim=64, out_channels=16,
        pos_embed_max_size=16, qk_norm="rms_norm",
    )  # fmt: skip
    return pipeline


Z_IMAGE = {
    "image_model": "lumina2", "dim": 32, "n_heads": 2, "n_kv_heads": 2, "n_layers": 2, "n_refiner_layers": 1,
    "cap_feat_dim": 16, "axes_dims": [8, 4, 4], "axes_lens": [256, 32, 32], "in_channels": 4, "patch_size": 2,
    "qk_norm": True, "norm_eps": 1e-5, "rope_theta": 256.0, "z_image_modulation": True, "ffn_dim_multiplier": 8 / 3,
    "multiple_of": 1, "time_scale": 1000.0, "pad_tokens_multiple": 32,
}  # fmt: skip
FLUX = {"num_heads": 2, "axes_dim": [4, 4, 8], "hidden_size": 32, "in_channels": 4, "out_channels": 4}
QWEN = {
    "num_attention_heads": 2, "attention_head_dim": 16, "joint_attention_dim": 16, "axes_dims_rope": [8, 4, 4],
    "out_channels": 4,
}  # fmt: skip
FLUX2 = {
    "image_model": "flux2", "in_channels": 16, "out_channels": 16, "vec_in_dim": None, "context_in_dim": 48,
    "hidden_size": 32, "mlp_ratio": 3.0, "num_heads": 2, "depth": 1, "depth_single_blocks": 1, "axes_dim": [4] * 4,
    "theta": 2000, "patch_size": 1, "qkv_bias": False, "guidance_embed": False, "txt_ids_dims": [3],
    "global_modulation": True, "mlp_silu_act": True, "ops_bias": False,
}  # fmt: skip
CASES: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "sd3": (sd3, "SD3", {}),
    "flux": (TINY.flux, "Flux", FLUX),
    "flux2": (TINY.flux2, "Flux2", {**FLUX2, "guidance_embed": True}),
    "flux2_klein": (TINY.flux2_klein, "Flux2", FLUX2),
    "qwen_image": (TINY.qwen_image, "QwenImage", QWEN),
    "z_image": (TINY.z_image, "ZImage", Z_IMAGE),
}
"""Family -> pipeline, ComfyUI's class, what its detection cannot tell of so small a model."""
NOT_LOADED = {
    "z_image": ("t_embedder",),
    "flux2": (FLUX2_REST := ("time_in", "guidance_in", "stream_modulation", "final_layer")),
    "flux2_klein": FLUX2_REST,
}
"""No adapter touches them: Z-Image's time embedding has one size in diffusers and follows the width in ComfyUI, and of
FLUX.2's weights in diffusers' names ComfyUI's own table knows little more than the blocks."""


@pytest.fixture(scope="module")
def comfyui() -> tuple[Path, Path]:
    """ComfyUI's folder and its Python."""
    folder = Path(os.environ.get("COMFYUI_PATH", Path.home() / "comfy" / "ComfyUI"))
    named = os.environ.get("COMFYUI_PYTHON")
    pythons = [Path(named)] if named else [folder / v / "bin/python" for v in (".venv", "venv", "../.venv")]
    for python in pythons:
        if (folder / "comfy" / "lora.py").is_file() and python.is_file():
            return folder, python
    why = f"NOT TESTED against ComfyUI's LoRA loader: none at {folder}; set COMFYUI_PATH and COMFYUI_PYTHON."
    warnings.warn(why, stacklevel=1)
    pytest.skip(why)


def write_case(name: str, folder: Path) -> None:
    make, model, settings = CASES[name]
    pipeline = make()
    family = family_class(name)(pipeline, ModelConfig(family=name, height=16, width=16))
    policy = LoraPolicy(pipeline.transformer, PolicyConfig(rank=4, alpha=8), family.lora_targets, 0)
    with torch.no_grad():
        for number, parameter in enumerate(policy.parameters):
            parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(number))
    (folder / name).mkdir()
    save_weights(policy, family, folder / name)
    (folder / name / FILE).rename(folder / name / "lora.safetensors")
    fused = make().transformer  # the same seed, the same weights
    _save(fused, name, folder / name / "base.safetensors")
    fused.load_lora_adapter(load_file(folder / name / "lora.safetensors"), prefix="transformer")
    fused.fuse_lora()
    fused.unload_lora()
    _save(fused, name, folder / name / "fused.safetensors")
    case = {"model": model, "settings": settings, "not_loaded": NOT_LOADED.get(name, ())}
    (folder / name / "case.json").write_text(json.dumps(case))


def _save(transformer: Any, name: str, file: Path) -> None:
    left_out = NOT_LOADED.get(name, ())
    kept = {k: v.contiguous() for k, v in transformer.state_dict().items() if not k.startswith(left_out)}
    save_file(kept, file)


@pytest.mark.slow
def test_comfyui_loads_the_file_at_the_right_strength(comfyui: tuple[Path, Path], tmp_path: Path) -> None:
    folder, python = comfyui
    for name in CASES:
        write_case(name, tmp_path)
    command = [str(python), str(HERE / "comfy_lora.py"), str(folder), *(str(tmp_path / name) for name in CASES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    for name in CASES:
        assert found[name]["taken"] == found[name]["adapters"] > 0, name
        assert found[name]["changed"] > 0.01, name
        assert found[name]["error"] < 1e-6, name
