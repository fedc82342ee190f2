# ruff: noqa: E402
"""Runs inside ComfyUI's own environment: does its LoRA loader do with our file what fusing the adapter does?

    python comfy_lora.py COMFYUI_FOLDER CASE_FOLDER ...

CASE_FOLDER holds base.safetensors and fused.safetensors (a diffusers transformer before and after), lora.safetensors
and case.json (the model class of ComfyUI and what its detection cannot know of so small a model). Prints JSON, last.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, sys.argv[1])
import comfy.cli_args

comfy.cli_args.args.cpu = True
import comfy.lora
import comfy.lora_convert
import comfy.model_detection
import comfy.model_patcher
import comfy.supported_models
import comfy.utils
import torch


def load(file: Path, case: dict[str, Any]) -> Any:
    """A model of ComfyUI with the weights of a diffusers transformer."""
    weights = comfy.utils.load_torch_file(str(file))
    if case["model"] == "Flux2":  # it has none, and ComfyUI reads the width off it
        weights["x_embedder.bias"] = torch.zeros(len(weights["x_embedder.weight"]))
    converted = comfy.model_detection.convert_diffusers_mmdit(dict(weights), "") or weights
    settings = {**(comfy.model_detection.detect_unet_config(dict(converted), "") or {}), **case["settings"]}
    config = getattr(comfy.supported_models, case["model"])(settings)
    config.set_inference_dtype(torch.float32, None)
    model = config.get_model(dict(converted), "")
    model.load_model_weights(dict(converted), "")
    return model


def compare(folder: Path) -> dict[str, float]:
    case = json.loads((folder / "case.json").read_text())
    model, fused = load(folder / "base.safetensors", case), load(folder / "fused.safetensors", case)
    lora = comfy.utils.load_torch_file(str(folder / "lora.safetensors"))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    keys = comfy.lora.model_lora_keys_unet(model, {})
    patches = comfy.lora.load_lora(comfy.lora_convert.convert_lora(dict(lora)), keys)
    patcher = comfy.model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))
    taken = patcher.add_patches(patches, 1.0)
    patcher.patch_model(device_to=torch.device("cpu"))
    after, expected = model.state_dict(), fused.state_dict()
    known = [key for key in expected if not any(part in key for part in case["not_loaded"])]
    return {
        "adapters": len(lora) // 2,
        "taken": len(taken),
        "changed": max(float((after[key].float() - before[key].float()).abs().max()) for key in known),
        "error": max(float((after[key].float() - expected[key].float()).abs().max()) for key in known),
    }


print(json.dumps({Path(name).name: compare(Path(name)) for name in sys.argv[2:]}))
