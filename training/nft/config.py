"""Everything a run is made of: frozen tables, one sentence per field, unknown keys are errors.

The resolved configuration is saved beside the run (`config.json`); a preset (`presets`) is a function that returns one.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from rationalrewards_core.backends.device import resolve_precision
from rationalrewards_core.errors import ConfigError

from ..settings import check_finite
from .advantage import AdvantageConfig
from .timesteps import TimesConfig

Precision = Literal["fp32", "bf16", "fp16", "auto"]
Decay = Literal["on_policy", "ramp_to_half", "late_ramp", "late_ramp_95", "slow"]


def _one_of(owner: str, name: str, value: object, literal: Any) -> None:
    choices = typing.get_args(literal)
    if value not in choices:
        raise ConfigError(f"{owner}.{name} must be one of {', '.join(map(str, choices))}, not {value!r}.")


def _at_least(owner: str, least: float, **values: float) -> None:
    for name, value in values.items():
        if value < least:
            raise ConfigError(f"{owner}.{name} must be at least {least:g}, not {value}.")


def _above(owner: str, least: float, **values: float) -> None:
    for name, value in values.items():
        if not value > least:
            raise ConfigError(f"{owner}.{name} must be above {least:g}, not {value}.")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which generator is tuned, and how it is held."""

    family: str = "miniature"
    """miniature, sd3, flux, flux_kontext, flux2, flux2_klein, qwen_image, qwen_image_edit or z_image."""
    pipeline: str = ""
    """Diffusers folder or hub id in the local cache; empty for the miniature's shipped weights."""
    precision: Precision = "fp32"
    """Of the frozen weights; what is trained is always fp32. `auto` is what is fast on the device."""
    base: Literal["full", "nf4"] = "full"
    """`nf4` holds the transformer's frozen weights in four bits (bitsandbytes), for small cards."""
    height: int = 48
    """Of rollouts, pixels."""
    width: int = 48
    guidance: float = 1.0
    """The guidance a distilled model is told as an input (FLUX); that of two passes is `rollout.guidance`."""
    text_length: int = 0
    """Most tokens of the long text encoder (T5, Qwen); 0 is the family's default."""
    offload: bool = False
    """Keep text encoders and VAE on the CPU except while they are used."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: about a third slower, several times less memory."""
    compile: bool = False
    """Compile each block of the transformer (torch.compile): every pass is faster, but the first ones take minutes on a
    CPU and need a C++ compiler there. LoRA only, and not with sharded weights."""
    download: bool = False
    """Whether a hub id may be downloaded."""

    def __post_init__(self) -> None:
        _one_of("model", "precision", self.precision, Precision)
        _one_of("model", "base", self.base, Literal["full", "nf4"])
        _at_least("model", 1, height=self.height, width=self.width)

    def resolved(self) -> ModelConfig:
        """The same with the precision that `auto` means here. Imports torch."""
        return dataclasses.replace(self, precision=resolve_precision(self.precision))  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class PromptsConfig:
    """What is asked."""

    source: str = "miniature"
    """`miniature`; `file:PATH` (JSON lines with `prompt`, optional `image` and `generate_with`); or `history:FOLDER`:
    loops' histories, whose accepted refinements generate while the original request is judged and trained."""
    held_out: str = "miniature"
    """Requests that are evaluated and never trained; empty for none."""
    two: float = 0.5
    """Share of two-thing requests (miniature)."""
    refined: str = ""
    """Another source (`file:PATH` or `history:FOLDER`) of requests with their refined wording: they are judged by what
    was asked, and both drawn and trained in the refined words, which is how a loop will use the generator."""
    refined_share: float = 0.5
    """Of an epoch's groups, how many come from `refined` where there is one."""

    def __post_init__(self) -> None:
        for name in ("two", "refined_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"prompts.{name} must be between 0 and 1, not {getattr(self, name)}.")


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """How an epoch's images are sampled."""

    prompts: int = 16
    """Groups per epoch, over all processes."""
    group: int = 8
    """Rollouts per group."""
    steps: int = 12
    """Sampler steps."""
    solver: Literal["dpm2", "euler"] = "dpm2"
    """`dpm2`: second-order multistep DPM-Solver++ from diffusers; `euler`: first order."""
    batch: int = 32
    """Images sampled together."""
    guidance: float = 1.0
    """Classifier-free guidance (2207.12598) of rollouts and evaluation; 1 is the conditional model alone. Two passes a
    step; for families whose pipeline guides by the plain formula."""

    def __post_init__(self) -> None:
        _one_of("rollout", "solver", self.solver, Literal["dpm2", "euler"])
        _at_least("rollout", 1, prompts=self.prompts, steps=self.steps, batch=self.batch)
        _at_least("rollout", 2, group=self.group)
        _at_least("rollout", 1, guidance=self.guidance)


@dataclass(frozen=True, kw_only=True)
class RewardsConfig:
    """Who judges."""

    judge: str = "miniature"
    """An engine by its name (`miniature`, `local:FOLDER`, `gguf:FILE`, `server:NAME`), `reward-server:URL` (our own
    protocol), `oracle` (miniature world); without words `head:FOLDER` (a scalar head of `training.sft scalar`), `scalar:NAME` (pickscore,
    hpsv2, imagereward, hpsv3) or `scalar:FOLDER` (the miniature world's small head)."""
    mode: Literal["score", "critique"] = "score"
    """`score` stops after the last score; `critique` also keeps the summary and the refined request in the records."""
    expected: bool = False
    """Use scores averaged under the judge's own token probabilities where it gives them: fewer ties."""
    batch: int = 32
    """Images judged together by an engine in this process."""
    precision: str = "auto"
    """Of an engine in this process; `auto` is what is fast on its device."""
    max_failure_rate: float = 0.2
    """The run stops when more than this share of an epoch's rollouts is unscored."""
    held_out_judge: str = ""
    """Judges the held-out images; should be another than `judge`. Empty is the same as `judge`."""
    time_share: bool = False
    """Judge and generator take turns on one device: the generator waits on the CPU while the judge works."""
    adapter: str = ""
    """LoRA adapter folder of a `local:` or `miniature` judge, such as `training.sft` writes; empty for none."""

    def __post_init__(self) -> None:
        _one_of("rewards", "mode", self.mode, Literal["score", "critique"])
        if not 0.0 <= self.max_failure_rate <= 1.0:
            raise ConfigError(f"rewards.max_failure_rate must be between 0 and 1, not {self.max_failure_rate}.")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What is minimised."""

    algorithm: Literal["nft", "awm"] = "nft"
    """DiffusionNFT (2509.16117), or advantage-weighted matching (2509.25050) on the same rollouts."""
    mix_beta: float = 1.0
    """How far the implicit policies lie from the old one; with `advantage.clip` it is one knob (see `loss.nft_loss`)."""
    self_normalised: bool = True
    """Divide each sample's x_0 error by its own mean absolute error."""
    ratio_clip: float = 0.2
    """AWM only: how far the likelihood ratio may leave 1 before it stops pulling."""
    kl_weight: float = 1e-4
    """Of |v - v_ref|^2; at the published 1e-4 it is a safety line, from about 1 on it holds the model back."""
    kl_guidance: float = 1.0
    """Guidance of the reference in the KL term: above 1 the conditional model is drawn towards the *guided* reference,
    which distils guidance into it (2210.03142, Eq. 2), to be used without."""
    guided: bool = False
    """Train the guided velocity that sampled (`rollout.guidance`), with gradients through both of its passes, as DDPO
    (2305.13301) and Flow-GRPO (2505.05470) can; otherwise the conditional velocity alone."""
    dropped: float = 0.0
    """Share of pairs that are trained without their caption (2207.12598, Alg. 1), so that the other pass of guidance is
    trained too."""
    guard_weight: float = 0.0
    """Of the squared hinge on |v| / |v_ref| (2606.27771); 0 is off."""
    guard_margin: float = 0.05
    """How much longer than the reference's the velocity may be at no cost."""

    def __post_init__(self) -> None:
        _one_of("loss", "algorithm", self.algorithm, Literal["nft", "awm"])
        _above("loss", 0, mix_beta=self.mix_beta, ratio_clip=self.ratio_clip)
        _at_least("loss", 0, kl_weight=self.kl_weight, guard_weight=self.guard_weight)
        _at_least("loss", 1, kl_guidance=self.kl_guidance)
        if not 0.0 <= self.dropped < 1.0:
            raise ConfigError(f"loss.dropped must be at least 0 and below 1, not {self.dropped}.")
        if self.guided and (self.dropped > 0 or self.kl_guidance != 1.0):
            raise ConfigError(
                "loss.guided trains both passes together: leave loss.dropped at 0, loss.kl_guidance at 1."
            )


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """What is trained, and how the sampling policy follows it."""

    tuning: Literal["lora", "full"] = "lora"
    """Adapters on a frozen backbone, or the whole transformer (three copies of it are held)."""
    rank: int = 32
    alpha: int = 64
    """The adapter's scale is alpha / rank."""
    old_decay: Decay = "ramp_to_half"
    """How the old policy follows, once per epoch (see `policy.DECAYS`)."""
    ema: float = 0.9
    """Cap of the decay of the averaged copy that is evaluated and saved."""

    def __post_init__(self) -> None:
        _one_of("policy", "tuning", self.tuning, Literal["lora", "full"])
        _one_of("policy", "old_decay", self.old_decay, Decay)
        _at_least("policy", 1, rank=self.rank, alpha=self.alpha)
        if not 0 <= self.ema < 1:
            raise ConfigError(f"policy.ema must be at least 0 and below 1, not {self.ema}.")


@dataclass(frozen=True, kw_only=True)
class OptimiserConfig:
    """AdamW with a constant rate."""

    kind: Literal["adamw", "adamw8bit"] = "adamw"
    lr: float = 3e-4
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 1e-4
    max_grad_norm: float = 1.0
    updates: int = 1
    """Optimiser steps per epoch; its groups are split among them."""
    micro_batch: int = 32
    """(rollout, time) pairs in one forward and backward pass."""

    def __post_init__(self) -> None:
        _one_of("optimiser", "kind", self.kind, Literal["adamw", "adamw8bit"])
        _at_least("optimiser", 1, updates=self.updates, micro_batch=self.micro_batch)
        _at_least("optimiser", 0, weight_decay=self.weight_decay)
        _above("optimiser", 0, lr=self.lr, eps=self.eps, max_grad_norm=self.max_grad_norm)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"optimiser.betas must be at least 0 and below 1, not {self.betas}.")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Length and bookkeeping."""

    seed: int = 42
    epochs: int = 60
    evaluate_every: int = 10
    """Epochs between evaluations of the held-out requests; 0 is never."""
    evaluate_prompts: int = 64
    evaluate_group: int = 1
    """Images per held-out request; with 2 and more their diversity is measured too."""
    save_every: int = 5
    """Epochs between checkpoints."""
    audit_every: int = 5
    """Epochs between audit pages with images; every epoch has its `rollouts.jsonl`."""
    tensorboard: bool = False
    """Also write TensorBoard events (needs the tensorboard package)."""
    wandb: str = ""
    """Project of Weights & Biases to send the figures to as well (needs the wandb package); empty for none."""

    def __post_init__(self) -> None:
        _at_least("run", 1, epochs=self.epochs, save_every=self.save_every, evaluate_prompts=self.evaluate_prompts)
        _at_least("run", 0, evaluate_every=self.evaluate_every, audit_every=self.audit_every)


LENGTH: Final = (
    "run.epochs", "run.evaluate_every", "run.save_every", "run.audit_every", "run.tensorboard", "run.wandb"
)  # fmt: skip
"""Settings that a run may go on with others of."""


@dataclass(frozen=True, kw_only=True)
class NFTConfig:
    """One run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    prompts: PromptsConfig = field(default_factory=PromptsConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    rewards: RewardsConfig = field(default_factory=RewardsConfig)
    advantage: AdvantageConfig = field(default_factory=AdvantageConfig)
    times: TimesConfig = field(default_factory=TimesConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        check_finite(self)
        if self.optimiser.updates > self.rollout.prompts:
            raise ConfigError("optimiser.updates must not exceed rollout.prompts: an update needs a group.")
        if self.model.base == "nf4" and self.policy.tuning == "full":
            raise ConfigError("model.base 'nf4' can only be tuned with policy.tuning 'lora'.")
        if self.loss.guided and self.rollout.guidance == 1.0:
            raise ConfigError("loss.guided trains what rollout.guidance draws: set that above 1.")
        if self.model.compile and self.policy.tuning == "full":
            raise ConfigError("model.compile works with policy.tuning 'lora' alone: set it to false.")

    @property
    def drops_captions(self) -> bool:
        """Whether anything asks the transformer without a caption."""
        return self.rollout.guidance > 1.0 or self.loss.kl_guidance > 1.0 or self.loss.dropped > 0.0

    def resolved(self) -> NFTConfig:
        """The same with every precision that `auto` means here. Imports torch."""
        rewards = dataclasses.replace(self.rewards, precision=resolve_precision(self.rewards.precision))
        return dataclasses.replace(self, model=self.model.resolved(), rewards=rewards)


def changed(config: NFTConfig, table: Mapping[str, Any]) -> NFTConfig:
    """`config` with the values of a nested table; ConfigError names a key that does not exist."""
    new_config: NFTConfig = _changed(config, table, "")
    return new_config


def _changed(config: Any, table: Mapping[str, Any], prefix: str) -> Any:
    names = {f.name for f in dataclasses.fields(config)}
    hints = typing.get_type_hints(type(config))
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        if key not in names:
            raise ConfigError(f"There is no setting {name!r}; here are {', '.join(sorted(names))}.")
        old = getattr(config, key)
        if dataclasses.is_dataclass(old):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{name} is a table of settings, not {value!r}.")
            values[key] = _changed(old, value, f"{name}.")
        else:
            values[key] = _converted(name, value, old, hints[key])
    return dataclasses.replace(config, **values)


def _converted(name: str, value: Any, old: Any, hint: Any) -> Any:
    """A value of the field's own kind: whole numbers become floats, lists tuples, and nothing else changes."""
    if isinstance(old, tuple) and isinstance(value, list):
        value = tuple(value)
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not type(old):
        raise ConfigError(f"{name} must be {getattr(hint, '__name__', hint)}, such as {old!r}, not {value!r}.")
    return value
