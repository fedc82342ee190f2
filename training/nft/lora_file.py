"""One LoRA file that both diffusers and ComfyUI load, at the same strength.

Diffusers keeps alpha in the file's metadata, ComfyUI looks for a tensor and takes 1 for the scale where there is
none: a file with alpha / rank = 2 would act at half its strength there. So the scale is folded into the second factor,
and the file needs no alpha at all.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rationalrewards_core.storage import replacing_folder

from ..sharding import whole_tensor
from .families.base import ModelFamily
from .policy import CURRENT, FullPolicy, LoraPolicy

FILE = "pytorch_lora_weights.safetensors"


def save_weights(policy: LoraPolicy | FullPolicy, family: ModelFamily, folder: Path | None) -> Path | None:
    """The current policy as it stands: a LoRA file, or a transformer folder after full tuning.

    Of sharded weights every process has to give its part; those without a `folder` write nothing.
    """
    if isinstance(policy, FullPolicy):
        weights = {name: whole_tensor(t).cpu() for name, t in policy.transformer.state_dict().items()}
        if folder is not None:
            with replacing_folder(folder / "transformer") as new_folder:
                _bare(policy.transformer, weights).save_pretrained(new_folder)
        return folder and folder / "transformer"
    if folder is None:
        return None
    about = {"family": family.config.family, "base": family.config.pipeline, "rank": policy.lora.r}
    pipeline: Any = type(family.pipeline)
    with replacing_folder(folder) as new_folder:
        pipeline.save_lora_weights(new_folder, transformer_lora_layers=folded(policy))
        (new_folder / "about.json").write_text(json.dumps(about, indent=2))
    return folder / FILE


def _bare(transformer: Any, weights: dict[str, Tensor]) -> Any:
    """A model of the same kind around these weights, which a sharded one cannot be saved as."""
    with torch.device("meta"):
        bare = type(transformer).from_config(transformer.config)
    bare.load_state_dict(weights, assign=True)
    return bare


def folded(policy: LoraPolicy) -> dict[str, Tensor]:
    """The adapter's tensors by diffusers' names, its scale in the second factor."""
    from peft import get_peft_model_state_dict

    state: dict[str, Tensor] = get_peft_model_state_dict(policy.transformer, adapter_name=CURRENT)
    scale = policy.lora.lora_alpha / policy.lora.r
    return {
        name: (tensor * scale if ".lora_B." in name else tensor).detach().cpu().contiguous()
        for name, tensor in state.items()
    }
