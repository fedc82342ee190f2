"""What trains: an adapter on the language model, or the language model itself; the tower as it is told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from rationalrewards_core.backends.checkpoint import Checkpoint, CheckpointConfig, load_checkpoint
from rationalrewards_core.backends.loading_report import first_without_number
from rationalrewards_core.errors import ConfigError

from .adapter import use_products
from .config import SftConfig

LANGUAGE = r".*language_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
TOWER = r".*visual\.blocks\..*\.(qkv|proj|linear_fc1|linear_fc2)"
PROJECTOR = r".*visual\.(merger|deepstack_merger_list)\..*(linear_fc1|linear_fc2)"
SHORT = 1024
"""Most tokens up to which attention is spelled out on a CPU: there the fused kernel's backward pass is the slower one."""


@dataclass
class Trainee:
    """A checkpoint made ready to learn."""

    checkpoint: Checkpoint
    adapter: Any
    """peft's view of the model, which saves adapters; None in full fine-tuning."""

    @property
    def model(self) -> Any:
        return self.checkpoint.model

    @property
    def trainable(self) -> dict[str, torch.nn.Parameter]:
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}


def load_trainee(config: SftConfig, device: str) -> Trainee:
    """Load the checkpoint as the engine does and put the adapter on, or thaw what trains."""
    checkpoint = load_checkpoint(
        CheckpointConfig(
            model=config.model,
            precision=config.precision,
            device=device,
            max_pixels=config.max_pixels,
            download=config.download,
        )
    )
    if device == "cpu" and config.max_length <= SHORT:
        checkpoint.model.config.get_text_config()._attn_implementation = "eager"
    trainee = _with_adapter(checkpoint, config) if config.method == "lora" else _thawed(checkpoint, config)
    if config.checkpointing:
        _recompute_activations(trainee.model)
    if not trainee.trainable:
        raise ConfigError(f"{config.model} has no layers of the names that are trained; it is not of the Qwen-VL kind.")
    return trainee


def _recompute_activations(model: Any) -> None:
    """By the name that transformers 5.23 gives it, else by the one it had before and which version 6 drops."""
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    else:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def target_modules(config: SftConfig) -> str:
    """The regular expression of the layers that get an adapter."""
    patterns = [LANGUAGE]
    patterns += [TOWER] if config.train_tower else []
    patterns += [PROJECTOR] if config.train_projector else []
    return "|".join(f"({pattern})" for pattern in patterns)


def trains(name: str, config: SftConfig) -> bool:
    """Whether a parameter of this name trains in full fine-tuning."""
    if "merger" in name and "visual" in name:
        return config.train_projector
    return config.train_tower if "visual." in name else True


def _with_adapter(checkpoint: Checkpoint, config: SftConfig) -> Trainee:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(config.seed)
    checkpoint.model.requires_grad_(False)
    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=target_modules(config),
        bias="none",
    )
    adapter = get_peft_model(checkpoint.model, lora)
    if config.adapter:
        _go_on(adapter, config)
    checkpoint.model = adapter.get_base_model()
    use_products(checkpoint.model)
    return Trainee(checkpoint, adapter)


def _go_on(adapter: Any, config: SftConfig) -> None:
    """Put an earlier run's weights into a new adapter. ConfigError if it is not of the same form."""
    from peft import set_peft_model_state_dict

    folder = Path(config.adapter).expanduser()
    try:
        table = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "adapter_model.safetensors")
        form = {"lora_rank": table["r"], "lora_alpha": table["lora_alpha"]}
    except (OSError, ValueError, LookupError, SafetensorError) as error:
        raise ConfigError(f"adapter: {folder} is no readable LoRA adapter folder: {error}.") from error
    changes = [f"{name}={value}" for name, value in form.items() if getattr(config, name) != value]
    if changes:
        raise ConfigError(f"adapter: {folder} was trained with other settings; set {' and '.join(changes)}.")
    shapes = {name.replace(".default.", "."): p.shape for name, p in adapter.named_parameters() if p.requires_grad}
    names = shapes.keys()
    if weights.keys() != names:
        raise ConfigError(
            f"adapter: {folder} adapts other layers ({len(weights.keys() - names)} that do not train here, "
            f"{len(names - weights.keys())} missing); set train_tower and train_projector as they were, and the same model."
        )
    other = next((name for name in sorted(names) if weights[name].shape != shapes[name]), None)
    if other is not None:
        raise ConfigError(
            f"adapter: {folder} is of a model of other sizes, by its weight {other}; name the model it was trained on."
        )
    broken = first_without_number(weights.items())
    if broken is not None:
        raise ConfigError(
            f"adapter: {folder} is damaged: {broken} holds values that are no numbers; get its files again."
        )
    set_peft_model_state_dict(adapter, weights)


def _thawed(checkpoint: Checkpoint, config: SftConfig) -> Trainee:
    for name, parameter in checkpoint.model.named_parameters():
        parameter.requires_grad_(trains(name, config))
    return Trainee(checkpoint, None)
