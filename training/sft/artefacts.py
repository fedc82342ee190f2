"""What a run leaves for others: an adapter folder or a checkpoint folder that the engine loads, and `merge`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rationalrewards_core import __version__
from rationalrewards_core.backends.adapter import stays_beside
from rationalrewards_core.backends.checkpoint import Checkpoint, CheckpointConfig, load_checkpoint, own_quantisation
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.rubric import Kind, Rubric
from rationalrewards_core.rubric_file import carried_rubrics, rubric_to_toml
from rationalrewards_core.storage import replacing_folder

from ..rewards.student_rubrics import student_rubrics
from .config import SftConfig
from .weights import Trainee

BESIDE_WEIGHTS = (
    "*.toml",
    "*.jinja",
    "*preprocessor_config.json",
    "generation_config.json",
    "merges.txt",
    "vocab.json",
)
"""Small files of a checkpoint folder that a fine-tuned copy needs too, rubrics among them."""


def save_student(trainee: Trainee, weights: Mapping[str, Tensor], folder: Path, config: SftConfig, note: Any) -> None:
    """Write an adapter's weights, or all of a model's (names of `trainee.model`), with the rubrics it was taught in.

    `folder` is a new one; `note` goes into its training.json.
    """
    if trainee.adapter is not None:
        tensors = {f"base_model.model.{name}": value for name, value in weights.items()}
        trainee.adapter.save_pretrained(str(folder), state_dict=tensors)
        (folder / "README.md").write_text(_card(config), encoding="utf-8")
    else:
        rounded = {name: value.to(torch.bfloat16) for name, value in weights.items()}
        save_checkpoint(trainee.checkpoint, folder, config.model, rounded)
    _save_rubrics(student_rubrics(config.model, Path(config.export)), folder)
    (folder / "training.json").write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")


def save_checkpoint(
    checkpoint: Checkpoint, folder: Path, base: str, weights: Mapping[str, Tensor] | None = None
) -> None:
    """A folder with everything the engine needs; `base` is where the small files beside the weights come from."""
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.model.save_pretrained(folder, state_dict=None if weights is None else dict(weights))
    checkpoint.tokeniser.save_pretrained(folder)
    checkpoint.image_processor.save_pretrained(folder)
    source = Path(base).expanduser()
    for pattern in BESIDE_WEIGHTS if source.is_dir() else ():
        for file in source.glob(pattern):
            shutil.copyfile(file, folder / file.name)


def merge(model: str, adapter: Path, folder: Path, *, download: bool = False) -> None:
    """Put an adapter into its base's weights and write the sum as a checkpoint folder, in bf16."""
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty; choose another folder for the merged checkpoint.")
    own = own_quantisation(CheckpointConfig(model=model, download=download))
    if own is not None:
        raise ConfigError(f"{model} is quantised ({own}); merge into the checkpoint that it was made from.")
    # Summed in fp32 and rounded once.
    config = CheckpointConfig(
        model=model, precision="fp32", adapter=str(adapter), device="cpu", max_pixels=None, download=download
    )
    checkpoint = load_checkpoint(config)
    if stays_beside(checkpoint.model):
        raise ConfigError(
            f"{adapter} has biases of its own (lora_bias=True), which cannot be merged; judge with --adapter."
        )
    checkpoint.tokeniser.padding_side = "right"
    checkpoint.model.to(torch.bfloat16)
    with replacing_folder(folder) as new_folder:
        save_checkpoint(checkpoint, new_folder, model)
        _save_rubrics(carried_rubrics(adapter), new_folder)  # in place of the base's: it was taught in these


def _save_rubrics(rubrics: Mapping[Kind, Rubric], folder: Path) -> None:
    for kind, rubric in rubrics.items():
        (folder / f"rubric_{kind}.toml").write_text(rubric_to_toml(rubric), encoding="utf-8")


def adapter_base(adapter: Path) -> str:
    """The checkpoint that an adapter was trained on, as it was named then."""
    try:
        table = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{adapter} is not a LoRA adapter folder: it has no readable adapter_config.json.") from error
    base = table.get("base_model_name_or_path")
    if not base:
        raise ConfigError(f"{adapter} does not say what it was trained on; name the checkpoint with --model.")
    return str(base)


def _card(config: SftConfig) -> str:
    return (
        f"# LoRA adapter for {Path(config.model).name}\n\n"
        f"Trained by rationalrewards {__version__} (`python -m training.sft`); settings and figures: `training.json`.\n"
        "Judge with it: `rationalrewards critique IMAGE --prompt ... --engine local:MODEL --adapter FOLDER`.\n"
    )
