"""What a fine-tuning run can be told, and presets that are known to make sense."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, get_args

from rationalrewards_core.backends.checkpoint import PRECISIONS, Precision
from rationalrewards_core.backends.device import choose_device, fast_precision, resolve_precision
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.miniature import scorer_folder

from ..settings import check_finite

Method = Literal["lora", "full"]


LENGTH: Final = ("epochs", "max_steps", "patience", "evaluate_every", "save_every", "log_every", "workers")
"""Settings that a run may go on with others of; the learning rate then follows the schedule of the new length."""


@dataclass(frozen=True, kw_only=True)
class SftConfig:
    """Everything that decides what a run computes. It is saved in the run directory as it was resolved."""

    model: str
    """Checkpoint folder or cached hub id to start from."""
    export: str = ""
    """Folder of the export: train.jsonl, pairs.jsonl and images/."""
    method: Method = "lora"
    """`lora` trains an adapter (QLoRA when `precision` is nf4 or int8); `full` trains the weights themselves."""
    precision: Precision = "auto"
    """How the weights are held: auto (what is fast on the device), bf16, fp16, fp32, int8, nf4.

    `full` needs fp32 (the optimiser's master weights).
    """
    autocast: bool = True
    """Compute in bf16 whatever the weights are held in; off on a CPU without bf16 instructions, which is slower so."""
    lora_rank: int = 64
    lora_alpha: int = 128
    lora_dropout: float = 0.0
    train_tower: bool = False
    """Whether the vision tower trains too; judging lives on its accuracy, so it is frozen unless you say so."""
    train_projector: bool = False
    """Whether the layers between tower and language model train too."""
    tower_memory: float = 1.0
    """GiB of the host's memory, per process, for what a frozen tower says of the pictures; 0 asks it in every epoch."""
    epochs: float | None = 3.0
    """Passes over train.jsonl; none fits the data: two, and more (at most eight) where they make less than 100 steps."""
    max_steps: int = 0
    """Stop after this many optimiser steps; 0 leaves it to `epochs`."""
    batch: int = 128
    """Examples per optimiser step, over all processes: the same run whatever the number of GPUs."""
    micro_batch: int = 1
    """Examples per forward pass on one device; the rest of `batch` is accumulated."""
    lr: float = 1e-5
    """Highest learning rate; linear warm-up, then a cosine to zero."""
    warmup: float = 0.05
    """Share of the steps that warm up."""
    weight_decay: float = 1e-6
    clip: float = 1.0
    """Largest gradient norm."""
    max_length: int = 8192
    """Most tokens of prompt and answer together; longer examples are left out and counted, never cut."""
    max_pixels: int | None = 802_816
    """Pixel cap per image; use the same when judging."""
    checkpointing: bool = True
    """Recompute activations in the backward pass: a third slower, several times smaller."""
    seed: int = 0
    """Decides order, adapter initialisation and dropout."""
    evaluate_every: int | None = None
    """Steps between measurements of pair accuracy on the development split; none is four times a run, and at least every
    200 steps; 0 never measures. The base is measured before the first step."""
    dev_pairs: int = 200
    """Development pairs with a winner judged each time, from the front of pairs.jsonl's dev split."""
    dev_max_tokens: int = 1024
    """Longest critique a student may write while it is measured."""
    dev_batch: int = 8
    """Pictures judged together while it is measured."""
    patience: int = 3
    """Stop after this many measurements without a better one; 0 never stops early."""
    save_every: int | None = None
    """Steps between checkpoints to resume from; none is four times a run, and at least every 200 steps."""
    log_every: int = 1
    """Steps between lines of metrics.jsonl."""
    workers: int = 0
    """Processes that read and encode examples ahead; 0 does it in the training process."""
    device: str = "auto"
    """auto, cpu or cuda; `accelerate launch` places its processes itself."""
    download: bool = False
    """Whether a hub id may be downloaded."""
    adapter: str = ""
    """LoRA adapter folder to go on from, of the same model, rank and layers; empty begins anew."""

    def __post_init__(self) -> None:
        check_finite(self)
        if self.method not in get_args(Method):
            raise ConfigError(f"method must be lora or full, not {self.method!r}.")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}.")
        if self.method == "full" and self.precision != "fp32":
            raise ConfigError(
                f"method full needs precision fp32, not {self.precision}: small updates are lost in rounder weights "
                "(autocast still computes in bf16)."
            )
        if self.adapter and self.method == "full":
            raise ConfigError("adapter is where method lora begins; for method full, merge it into its base first.")
        positive = ("lora_rank", "lora_alpha", "batch", "micro_batch", "lr", "clip", "save_every", "log_every")
        for name in (*positive, "epochs", "max_length", "dev_pairs", "dev_max_tokens", "dev_batch"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise ConfigError(f"{name} must be positive, not {value}.")
        for name in ("tower_memory", "max_steps", "evaluate_every", "patience", "workers", "weight_decay", "seed"):
            if (value := getattr(self, name)) is not None and value < 0:
                raise ConfigError(f"{name} must not be negative, not {value}.")
        for name in ("warmup", "lora_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(f"{name} must be at least 0 and below 1, not {getattr(self, name)}.")
        if self.batch % self.micro_batch:
            raise ConfigError(f"batch ({self.batch}) must be a multiple of micro_batch ({self.micro_batch}).")

    def resolved(self) -> SftConfig:
        """The same with what `precision` and `autocast` come to on the device. Imports torch."""
        device = choose_device(self.device)
        precision = resolve_precision(self.precision, device)
        autocast = self.autocast and fast_precision(device) != "fp32"
        return replace(self, precision=precision, autocast=autocast)  # type: ignore[arg-type]


def miniature() -> SftConfig:
    """The shipped miniature on a CPU, in minutes."""
    return SftConfig(
        model=str(scorer_folder()), precision="fp32", autocast=False, lora_rank=16, lora_alpha=32, epochs=3.0, batch=16,
        micro_batch=16, lr=1e-3, max_length=1024, checkpointing=False, dev_pairs=64, dev_max_tokens=300, dev_batch=32,
        device="cpu",
    )  # fmt: skip


def qwen3_vl_8b_qlora_24gb() -> SftConfig:
    """Qwen3-VL-8B on one 24 GB card: NF4 weights, an adapter of rank 64 on the language model."""
    return SftConfig(
        model="Qwen/Qwen3-VL-8B-Instruct", precision="nf4", lr=1e-4, batch=32, max_length=4096, epochs=None, workers=4
    )


def qwen3_vl_4b() -> SftConfig:
    """Qwen3-VL-4B with an adapter on bf16 weights: one 24 GB card."""
    return SftConfig(
        model="Qwen/Qwen3-VL-4B-Instruct", precision="bf16", lr=1e-4, batch=32, max_length=4096, epochs=None, workers=4
    )


def qwen3_vl_8b_paper() -> SftConfig:
    """Full fine-tuning with the released recipe's settings (arXiv 2604.11626): launch it with FSDP2 on 8 GPUs."""
    return SftConfig(
        model="Qwen/Qwen3-VL-8B-Instruct", method="full", precision="fp32", lr=1e-5, warmup=0.05, weight_decay=1e-6,
        epochs=3.0, batch=128, micro_batch=4, max_length=32_768, evaluate_every=800, save_every=800, workers=4,
    )  # fmt: skip


PRESETS = {
    "miniature": miniature,
    "qwen3-vl-8b-qlora-24gb": qwen3_vl_8b_qlora_24gb,
    "qwen3-vl-8b-paper": qwen3_vl_8b_paper,
    "qwen3-vl-4b": qwen3_vl_4b,
}


def preset(name: str) -> SftConfig:
    if name not in PRESETS:
        raise ConfigError(f"Unknown preset {name!r}; there are {', '.join(PRESETS)}.")
    return PRESETS[name]()


def changed(config: SftConfig, values: Mapping[str, Any], origin: str) -> SftConfig:
    """`config` with `values` (already typed, or text from the command line) put in; unknown keys are errors."""
    types = {f.name: str(f.type) for f in fields(SftConfig)}
    typed = {}
    for key, value in values.items():
        if key not in types:
            raise ConfigError(f"{origin}: unknown key {key!r}; known keys are {', '.join(sorted(types))}.")
        typed[key] = _typed(key, value, types[key], origin)
    return replace(config, **typed)


def _typed(key: str, value: Any, type_name: str, origin: str) -> Any:
    if "None" in type_name and value in (None, "none"):
        return None
    try:
        if type_name == "bool":
            return {True: True, False: False, "true": True, "false": False}[value]
        if "int" in type_name.split(" ")[0]:
            return _whole(value)
        if "float" in type_name:
            return float(value)
    except (ValueError, KeyError, TypeError):
        kinds = {"bool": "true or false", "float": "a number"}
        kind = kinds.get(type_name.split(" ")[0], "a whole number")
        raise ConfigError(f"{origin}: {key} must be {kind}, not {value!r}.") from None
    if not isinstance(value, str):
        raise ConfigError(f"{origin}: {key} must be a text, not {value!r}.")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return int(value)
