"""Memory of a run on one device, before anything is loaded: counted parameters, and activations by rule.

Weights, gradients and optimiser states are counted exactly, on a model without storage. Activations are an estimate
(about 20 %): saved inputs of every layer, one layer in the making, the logits of the answers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, Qwen3VLConfig

from rationalrewards_core.backends.checkpoint import NOT_QUANTIZED
from rationalrewards_core.backends.device import resolve_precision
from rationalrewards_core.errors import ConfigError

from .config import SftConfig
from .weights import target_modules, trains

GIB: Final = 2**30
HELD_BYTES: Final = {"bf16": 2.0, "fp16": 2.0, "fp32": 4.0, "int8": 1.0, "nf4": 0.516}
"""Bytes per weight; NF4 with its doubly quantised scales."""
CONTEXT_GIB: Final = 0.8
"""What CUDA and its libraries take before any model."""

_ROPE: Final = {
    "rope_type": "default",
    "rope_theta": 5_000_000.0,
    "mrope_section": [24, 20, 20],
    "mrope_interleaved": True,
}
_SHAPES: Final[dict[str, dict[str, Any]]] = {
    "Qwen/Qwen3-VL-8B-Instruct": {
        "text_config": {"hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36},
        "vision_config": {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "out_hidden_size": 4096},
        "tie_word_embeddings": False,
    },
    "Qwen/Qwen3-VL-4B-Instruct": {
        "text_config": {"hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36},
        "vision_config": {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "out_hidden_size": 2560},
        "tie_word_embeddings": True,
    },
}
"""Shapes of the presets' models, so that they can be estimated before they are downloaded."""


@dataclass(frozen=True, kw_only=True)
class SftEstimate:
    """GiB on one device."""

    weights: float
    trained: float
    """Trained weights beyond those above (an adapter's), gradients, both moments of AdamW."""
    activations: float
    logits: float
    overhead: float
    parameters: int
    trained_parameters: int
    tokens: int
    """Tokens of the micro-batch that was assumed."""

    @property
    def total(self) -> float:
        return self.weights + self.trained + self.activations + self.logits + self.overhead

    def __str__(self) -> str:
        rows = [
            ("weights", self.weights), ("gradients and optimiser", self.trained), ("activations", self.activations),
            ("logits of the answers", self.logits), ("CUDA and buffers", self.overhead), ("together", self.total),
        ]  # fmt: skip
        head = (
            f"Estimated memory per device: {self.parameters / 1e6:,.1f} million parameters, "
            f"{self.trained_parameters / 1e6:,.1f} million trained, {self.tokens} tokens at a time"
        )
        return "\n".join([head, *(f"  {name:<24}{size:8.2f} GiB" for name, size in rows)])


def estimate(config: SftConfig, *, longest: int | None = None, answer: int = 1000, shards: int = 1) -> SftEstimate:
    """Memory of the worst micro-batch. `longest`: tokens of the longest example (default: `max_length`).

    `answer` is the length of an answer in tokens; `shards` the number of devices that FSDP spreads weights over.
    """
    config = replace(config, precision=resolve_precision(config.precision, config.device))  # type: ignore[arg-type]
    shape = model_config(config)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(shape)
    linear = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    parameters = dict(model.named_parameters())
    resident_bytes = sum(p.numel() * _held(name, config, linear) for name, p in parameters.items())
    if config.method == "lora":
        trained = sum(
            config.lora_rank * (p.shape[0] + p.shape[1])
            for name, p in parameters.items()
            if name in linear and re.fullmatch(target_modules(config), name.removesuffix(".weight"))
        )
        states = 16.0 * trained  # fp32 weight, gradient and two moments
    else:
        trained = sum(p.numel() for name, p in parameters.items() if trains(name, config))
        states = 12.0 * trained
    tokens = config.micro_batch * (longest or config.max_length)
    text = shape.get_text_config()
    width = 2.0 if config.autocast or config.precision in ("bf16", "fp16") else 4.0
    vocabulary = text.vocab_size * config.micro_batch * min(answer, longest or config.max_length)
    return SftEstimate(
        weights=resident_bytes / shards / GIB,
        trained=states / (1 if config.method == "lora" else shards) / GIB,  # adapters stay whole on every device
        activations=_activations(text, tokens, width, config) / GIB,
        logits=vocabulary * (width + 8.0) / GIB,  # rounded logits, fp32 logits, their gradient
        overhead=_overhead(config, parameters, linear),
        parameters=sum(p.numel() for p in parameters.values()),
        trained_parameters=trained,
        tokens=tokens,
    )


def held_bytes(model: str, precision: str) -> tuple[float, float]:
    """Of a checkpoint as the engine loads it: bytes of its weights, and of the cache of one token in 16 bits."""
    config = SftConfig(model=model, precision=resolve_precision(precision))  # type: ignore[arg-type]
    shape = model_config(config)
    with torch.device("meta"):
        skeleton = AutoModelForImageTextToText.from_config(shape)
    linear = {f"{name}.weight" for name, module in skeleton.named_modules() if isinstance(module, torch.nn.Linear)}
    weights = sum(p.numel() * _held(name, config, linear) for name, p in skeleton.named_parameters())
    text = shape.get_text_config()
    return weights, 2 * 2.0 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim


def model_config(config: SftConfig) -> Any:
    """The checkpoint's own configuration, or the known shape of a preset's model. Nothing is downloaded."""
    if (Path(config.model).expanduser() / "config.json").is_file() or config.model not in _SHAPES:
        try:
            return AutoConfig.from_pretrained(config.model, local_files_only=True)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{config.model} is neither a checkpoint folder nor in the local Hugging Face cache; "
                f"download it with `hf download {config.model}`."
            ) from error
    shape = _SHAPES[config.model]
    text = {
        **shape["text_config"], "vocab_size": 151_936, "num_attention_heads": 32, "num_key_value_heads": 8,
        "head_dim": 128, "rope_parameters": dict(_ROPE), "tie_word_embeddings": shape["tie_word_embeddings"],
    }  # fmt: skip
    return Qwen3VLConfig(**{**shape, "text_config": text})


def _held(name: str, config: SftConfig, linear: set[str]) -> float:
    """Bytes per weight of one tensor as the engine loads it."""
    quantised = config.precision in ("nf4", "int8")
    spared = name not in linear or any(part in name for part in NOT_QUANTIZED)
    return HELD_BYTES["bf16"] if quantised and spared else HELD_BYTES[config.precision]


def _activations(text: Any, tokens: int, width: float, config: SftConfig) -> float:
    hidden, inner = text.hidden_size, text.intermediate_size
    heads = (text.num_attention_heads + 2 * text.num_key_value_heads) * text.head_dim
    # One layer: two norms (fp32 inside), projections, attention output, the gated product and its two factors.
    layer = tokens * (width * (4 * hidden + 2 * heads + 4 * inner) + 4.0 * 2 * hidden)
    if config.method == "lora":
        layer += tokens * 4.0 * (2 * hidden + inner)  # inputs of the adapter's fp32 matrices
    saved = tokens * width * hidden * text.num_hidden_layers
    return saved + 2 * layer if config.checkpointing else layer * text.num_hidden_layers


def _overhead(config: SftConfig, parameters: dict[str, Any], linear: set[str]) -> float:
    largest = max(p.numel() for name, p in parameters.items() if name in linear)
    unpacked = 2.0 * largest / GIB if config.precision in ("nf4", "int8") else 0.0
    return (0.0 if config.device == "cpu" else CONTEXT_GIB) + unpacked
