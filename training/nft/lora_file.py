"""One LoRA file that both diffusers and ComfyUI load, at the same strength.

Diffusers keeps alpha in the file's metadata, ComfyUI looks for a tensor and takes 1 for the scale where there is
none: a file with alpha / rank = 2 would act at half its strength there. So the scale is folded into the second factor,
and the file needs no alpha at all.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from rationalrewards_core.storage import replacing_folder

from ..sharding import whole_tensor
from .families.base import ModelFamily
from .lora_metadata import lora_metadata
from .policy import CURRENT, FullPolicy, LoraPolicy

FILE = "pytorch_lora_weights.safetensors"
PREVIEW = "pytorch_lora_weights.preview.png"
"""What LoRA managers show: it has the file's name and lies beside it."""


def save_weights(
    policy: LoraPolicy | FullPolicy,
    family: ModelFamily,
    folder: Path | None,
    purpose: Mapping[str, Any] | None = None,
) -> Path | None:
    """The current policy as it stands: a LoRA file, or a transformer folder after full tuning.

    `purpose` is what the file says of itself (see `lora_metadata`); the newest sheet of held-out pictures of the run that
    `folder` lies in is its preview, inside the file and beside it. Of sharded weights every process has to give its part;
    those without a `folder` write nothing.
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
        _describe(new_folder, folder.parent / "samples", policy, family, purpose or {})
        (new_folder / "about.json").write_text(json.dumps(about, indent=2))
    return folder / FILE


def _describe(folder: Path, samples: Path, policy: LoraPolicy, family: ModelFamily, purpose: Mapping[str, Any]) -> None:
    """Write the file's header anew, and its preview beside it, in a folder that is not in its place yet."""
    config, sheets = family.config, sorted(samples.glob("*.png"))
    preview = Image.open(sheets[-1]) if sheets else None
    base, size = config.pipeline or config.family, (config.width, config.height)
    header = lora_metadata(config.family, base, policy.lora.r, size, purpose, preview)
    (folder / FILE).write_bytes(_with_header((folder / FILE).read_bytes(), header))
    if sheets:
        shutil.copyfile(sheets[-1], folder / PREVIEW)


def _with_header(content: bytes, texts: Mapping[str, str]) -> bytes:
    """The same tensors with these texts in the header, in their order: safetensors itself writes them in a random one, so
    that a run that goes on after a kill would end in other bytes."""
    size = int.from_bytes(content[:8], "little")
    header = json.dumps({**json.loads(content[8 : 8 + size]), "__metadata__": dict(texts)}).encode("utf-8")
    header += b" " * (-len(header) % 8)  # tensors begin at a multiple of eight bytes
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


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
