"""Memory and work of a run, from the configuration and the transformer's own `config.json`, before anything is loaded.

Weights are counted on the meta device, so the figures are of the real architecture; a preset's is known without its files. Activations are a rule of thumb
(about 34 bytes per token, width and layer in 16 bits without checkpointing, 2 with), and are named as such.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rationalrewards_core.errors import ConfigError
from rationalrewards_core.miniature import generator_folder, scorer_folder

from .config import NFTConfig, RewardsConfig
from .families import family_class
from .policy import blocks_of
from .shapes import TEXT_ENCODERS, TRANSFORMERS, VAE
from .timesteps import times_per_rollout

BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0}
NF4_BYTES = 0.57
"""Four bits and the block's scale."""
USUAL_JUDGE: Final = "Qwen/Qwen3-VL-8B-Instruct"
JUDGED_TOKENS: Final = 2500
"""Of one judged image: its prompt with the picture, and the critique."""


@dataclass(frozen=True)
class NFTEstimate:
    """Of one process."""

    weights: int
    trained: int
    backbone_bytes: float
    trained_bytes: float
    activation_bytes: float
    """With the blocks that are gathered at a time, where weights are sharded."""
    encoder_bytes: float
    """Of the text encoders."""
    vae_bytes: float
    judge_bytes: float
    """Of a judge on the same device, with the cache of the images it judges together; 0 for one elsewhere."""
    judge: str
    """What was counted as the judge, in words."""
    offload: bool
    time_share: bool
    forwards: int
    """No-grad passes of one image per epoch, sampling included."""
    backwards: int
    images: int

    @property
    def stages(self) -> dict[str, float]:
        """Bytes on the device in each part of an epoch: with `offload` and `time_share` not all is there at once."""
        always = self.backbone_bytes + self.trained_bytes
        beside = 0.0 if self.offload else self.encoder_bytes + self.vae_bytes
        judge = 0.0 if self.time_share else self.judge_bytes
        stages = {
            "encoding prompts": always + judge + self.encoder_bytes + self.vae_bytes,
            "training": always + judge + beside + self.activation_bytes,
        }
        return stages | ({"judging": self.trained_bytes + self.judge_bytes} if self.time_share else {})

    @property
    def peak(self) -> float:
        """Bytes on the device in the largest part of an epoch."""
        return max(self.stages.values())

    def __str__(self) -> str:
        stages = ", ".join(f"{name} {_gib(size)}" for name, size in self.stages.items())
        return (
            f"transformer {self.weights / 1e6:.1f} M weights, {self.trained / 1e6:.2f} M of them trained\n"
            f"memory: weights {_gib(self.backbone_bytes)}, training state {_gib(self.trained_bytes)}, "
            f"activations about {_gib(self.activation_bytes)}, text encoders {_gib(self.encoder_bytes)}, "
            f"VAE {_gib(self.vae_bytes)}, judge {_gib(self.judge_bytes)} ({self.judge})\n"
            f"on the device at once: {stages}; at most about {_gib(self.peak)}\n"
            f"work per epoch and process: {self.images} images, {self.forwards} forward passes without gradients, "
            f"{self.backwards} with"
        )


def estimate(config: NFTConfig, processes: int = 1, shards: int = 1) -> NFTEstimate:
    """`shards`: processes that FSDP2 spreads one copy of the weights over; adapters stay whole.

    ConfigError when the transformer's configuration can neither be found nor is that of a preset.
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
    sampling, trained_passes = (2 if config.rollout.guidance > 1.0 else 1), (2 if config.loss.guided else 1)
    wants_reference = config.loss.kl_weight > 0 or config.loss.guard_weight > 0
    of_reference = (2 if config.loss.guided or config.loss.kl_guidance > 1.0 else 1) if wants_reference else 0
    forwards = images * config.rollout.steps * sampling + pairs * (trained_passes + of_reference)
    judge, judge_bytes = _judge(config.rewards)
    return NFTEstimate(
        weights,
        trained,
        weights * each / shards,
        state,
        _activations(transformer, config) * trained_passes + _gathered(transformer, each, shards),
        TEXT_ENCODERS[config.model.family] * BYTES[config.model.precision],
        VAE[config.model.family] * BYTES[config.model.precision],
        judge_bytes,
        judge,
        config.model.offload,
        config.rewards.time_share,
        forwards,
        pairs * trained_passes,
        images,
    )


def _on_meta(config: NFTConfig) -> Any:
    import diffusers
    import torch

    family = family_class(config.model.family)
    folder = config.model.pipeline or str(generator_folder())
    kind = getattr(diffusers, family.transformer_class)
    if not Path(folder).is_dir() and folder in TRANSFORMERS:
        with torch.device("meta"):
            return kind(**TRANSFORMERS[folder])
    try:
        settings = kind.load_config(folder, subfolder="transformer", local_files_only=not config.model.download)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{folder!r} has no transformer configuration here; name a diffusers folder or say model.download=true."
        ) from error
    with torch.device("meta"):
        return kind.from_config(settings)


def _judge(config: RewardsConfig) -> tuple[str, float]:
    """What judges on the same device, in words, and its bytes."""
    kind, _, target = config.judge.partition(":")
    if kind not in ("local", "miniature"):
        elsewhere = kind in ("server", "reward-server")
        return ("on its own server" if elsewhere else f"{kind} is not counted"), 0.0
    from ..sft.estimate import held_bytes

    model, precision = str(scorer_folder()) if kind == "miniature" else target, config.precision
    try:
        weights, cache = held_bytes(model, config.precision)
    except ConfigError:
        weights, cache = held_bytes(USUAL_JUDGE, config.precision)
        precision = f"{config.precision}, taken for one of 8B, as {target} is not here"
    return precision, weights + cache * JUDGED_TOKENS * config.batch


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
