"""Memory and work of a run, from the configuration and the transformer's own `config.json`, before anything is loaded.

Weights are counted on the meta device, so the figures are of the real architecture. Activations are a rule of thumb
(about 34 bytes per token, width and layer in 16 bits without checkpointing, 2 with), and are named as such.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rationalrewards_core.errors import ConfigError
from rationalrewards_core.miniature import generator_folder
from training.nft.config import NFTConfig
from training.nft.families import family_class
from training.nft.policy import blocks_of
from training.nft.timesteps import times_per_rollout

BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0}
NF4_BYTES = 0.57
"""Four bits and the block's scale."""


@dataclass(frozen=True)
class Estimate:
    """Of one process."""

    weights: int
    trained: int
    backbone_bytes: float
    trained_bytes: float
    activation_bytes: float
    """With the blocks that are gathered at a time, where weights are sharded."""
    forwards: int
    """No-grad passes of one image per epoch, sampling included."""
    backwards: int
    images: int

    def __str__(self) -> str:
        total = self.backbone_bytes + self.trained_bytes + self.activation_bytes
        return (
            f"transformer {self.weights / 1e6:.1f} M weights, {self.trained / 1e6:.2f} M of them trained\n"
            f"memory: weights {_gib(self.backbone_bytes)}, training state {_gib(self.trained_bytes)}, "
            f"activations about {_gib(self.activation_bytes)}; together about {_gib(total)} "
            "(text encoders, VAE and judge not counted)\n"
            f"work per epoch and process: {self.images} images, {self.forwards} forward passes without gradients, "
            f"{self.backwards} with"
        )


def estimate(config: NFTConfig, processes: int = 1, shards: int = 1) -> Estimate:
    """`shards`: processes that FSDP2 spreads one copy of the weights over; adapters stay whole.

    ConfigError when the transformer's configuration cannot be found.
    """
    config = config.resolved()
    transformer = _on_meta(config)
    weights = sum(p.numel() for p in transformer.parameters())
    lora = config.policy.tuning == "lora"
    trained = _adapter_weights(transformer, config) if lora else weights
    each = NF4_BYTES if config.model.base == "nf4" else BYTES[config.model.precision if lora else "fp32"]
    # Current, average, gradient in fp32, two moments, and the old copy; full tuning also keeps the reference.
    moments = 2.0 if config.optimiser.kind == "adamw8bit" else 8.0
    state = trained * (4 + 4 + 4 + 4 + moments) / (1 if lora else shards)
    images = config.rollout.prompts * config.rollout.group // processes
    pairs = images * times_per_rollout(config.times, config.rollout.steps)
    wants_reference = config.loss.kl_weight > 0 or config.loss.guard_weight > 0
    forwards = images * config.rollout.steps + pairs * (1 + wants_reference)
    return Estimate(
        weights,
        trained,
        weights * each / shards,
        state,
        _activations(transformer, config) + _gathered(transformer, each, shards),
        forwards,
        pairs,
        images,
    )


def _on_meta(config: NFTConfig) -> Any:
    import diffusers
    import torch

    family = family_class(config.model.family)
    folder = config.model.pipeline or str(generator_folder())
    kind = getattr(diffusers, family.transformer_class)
    try:
        settings = kind.load_config(folder, subfolder="transformer", local_files_only=not config.model.download)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{folder!r} has no transformer configuration here; name a diffusers folder or say model.download=true."
        ) from error
    with torch.device("meta"):
        return kind.from_config(settings)


def _adapter_weights(transformer: Any, config: NFTConfig) -> int:
    targets = family_class(config.model.family).lora_targets
    return sum(
        config.policy.rank * sum(module.weight.shape)
        for name, module in transformer.named_modules()
        if any(name.endswith(target) for target in targets) and hasattr(module, "weight")
    )


def _activations(transformer: Any, config: NFTConfig) -> float:
    settings = transformer.config
    layers = sum(settings.get(key, 0) or 0 for key in ("num_layers", "num_single_layers", "n_layers"))
    width = settings.get("dim") or settings["attention_head_dim"] * settings["num_attention_heads"]
    family = family_class(config.model.family)
    image_tokens = (config.model.height // family.token_pixels) * (config.model.width // family.token_pixels)
    tokens = image_tokens * (2 if family.edits else 1) + (config.model.text_length or family.text_tokens)
    each = 2.0 if config.model.gradient_checkpointing else 34.0
    scale = 2.0 if config.model.precision == "fp32" else 1.0
    return each * scale * tokens * width * layers * config.optimiser.micro_batch


def _gathered(transformer: Any, each: float, shards: int) -> float:
    """Two blocks: the one that computes, and the next, on its way."""
    if shards == 1:
        return 0.0
    blocks = [part for part in transformer.modules() if type(part).__name__ in blocks_of(transformer)]
    return 2.0 * each * max(sum(p.numel() for p in block.parameters()) for block in blocks)


def _gib(count: float) -> str:
    return f"{count / 2**30:.2f} GiB"
