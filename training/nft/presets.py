"""Presets: functions that return a whole configuration. `python -m training.nft --preset NAME --show` prints one."""

from __future__ import annotations

from collections.abc import Callable

from .advantage import AdvantageConfig
from .config import (
    LossConfig,
    ModelConfig,
    NFTConfig,
    OptimiserConfig,
    PolicyConfig,
    PromptsConfig,
    RewardsConfig,
    RolloutConfig,
    RunConfig,
)
from .timesteps import TimesConfig


def miniature_cpu() -> NFTConfig:
    """The shipped miniature generator, judged by the miniature scorer, on two CPU cores."""
    return NFTConfig(
        model=ModelConfig(precision="auto"),
        rewards=RewardsConfig(judge="miniature", held_out_judge="oracle"),
        rollout=RolloutConfig(prompts=12, group=8, steps=6, batch=48),
        advantage=AdvantageConfig(clip=1.0),
        loss=LossConfig(kl_weight=0.0),
        times=TimesConfig(count=3),
        policy=PolicyConfig(rank=32, alpha=64, old_decay="on_policy"),
        optimiser=OptimiserConfig(lr=1.5e-3, updates=2, micro_batch=72),
        run=RunConfig(epochs=30, evaluate_every=5),
    )


def sd35_medium_8gpu() -> NFTConfig:
    """The published runs on SD3.5-Medium (2509.16117): 48 groups of 24 at 512 pixels on eight GPUs."""
    return NFTConfig(
        model=ModelConfig(
            family="sd3", pipeline="stabilityai/stable-diffusion-3.5-medium", precision="bf16", height=512, width=512
        ),
        prompts=PromptsConfig(source="file:prompts.jsonl", held_out="file:held_out.jsonl"),
        rollout=RolloutConfig(prompts=48, group=24, steps=10, batch=9),
        rewards=RewardsConfig(judge="server:judge"),
        optimiser=OptimiserConfig(lr=3e-4, micro_batch=9),
        run=RunConfig(epochs=1000, save_every=30, audit_every=10, evaluate_prompts=256),
    )


def flux_dev_t2i() -> NFTConfig:
    """FLUX.1-dev, text to image, 48 groups of 16 at 512 pixels, distilled guidance 2.5."""
    return NFTConfig(
        model=ModelConfig(
            family="flux",
            pipeline="black-forest-labs/FLUX.1-dev",
            precision="bf16",
            height=512,
            width=512,
            guidance=2.5,
            text_length=128,
            offload=True,
            gradient_checkpointing=True,
        ),
        prompts=PromptsConfig(source="file:prompts.jsonl", held_out="file:held_out.jsonl"),
        rollout=RolloutConfig(prompts=48, group=16, steps=20, batch=4),
        rewards=RewardsConfig(judge="server:judge"),
        advantage=AdvantageConfig(min_group_std=0.01),
        loss=LossConfig(kl_weight=1e-3),
        times=TimesConfig(count=10),
        policy=PolicyConfig(rank=64, alpha=128),
        optimiser=OptimiserConfig(lr=2e-4, micro_batch=2),
        run=RunConfig(epochs=400, save_every=20, audit_every=10),
    )


def flux_kontext_edit() -> NFTConfig:
    """FLUX.1-Kontext as RationalRewards tuned it: 64 groups of 8, 15 steps, distilled guidance 2.5."""
    return NFTConfig(
        model=ModelConfig(
            family="flux_kontext",
            pipeline="black-forest-labs/FLUX.1-Kontext-dev",
            precision="bf16",
            height=512,
            width=512,
            guidance=2.5,
            text_length=128,
            offload=True,
            gradient_checkpointing=True,
        ),
        prompts=PromptsConfig(source="file:edits.jsonl", held_out="file:held_out.jsonl"),
        rollout=RolloutConfig(prompts=64, group=8, steps=15, batch=4),
        rewards=RewardsConfig(judge="server:judge-edit"),
        advantage=AdvantageConfig(min_group_std=0.05, max_group_mean=0.9),
        optimiser=OptimiserConfig(lr=2e-4, micro_batch=2),
        run=RunConfig(epochs=400, save_every=20, audit_every=10),
    )


def flux2_klein_24gb() -> NFTConfig:
    """FLUX.2-klein (4B, four steps) in four bits and an NF4 judge taking turns on one 24 GB card."""
    return NFTConfig(
        model=ModelConfig(
            family="flux2_klein",
            pipeline="black-forest-labs/FLUX.2-klein-4B",
            precision="bf16",
            base="nf4",
            height=512,
            width=512,
            text_length=128,
            offload=True,
            gradient_checkpointing=True,
        ),
        prompts=PromptsConfig(source="file:prompts.jsonl", held_out="file:held_out.jsonl"),
        rollout=RolloutConfig(prompts=16, group=12, steps=4, batch=8),
        rewards=RewardsConfig(judge="local:/models/RationalRewards-8B-T2I", precision="nf4", batch=4, time_share=True),
        times=TimesConfig(count=4),
        optimiser=OptimiserConfig(kind="adamw8bit", lr=2e-4, micro_batch=4),
        run=RunConfig(epochs=300, save_every=10, audit_every=10),
    )


def qwen_image_edit() -> NFTConfig:
    """Qwen-Image-Edit-2509 as RationalRewards tuned it: 64 groups of 8, 10 steps, no guidance."""
    return NFTConfig(
        model=ModelConfig(
            family="qwen_image_edit",
            pipeline="Qwen/Qwen-Image-Edit-2509",
            precision="bf16",
            height=512,
            width=512,
            offload=True,
            gradient_checkpointing=True,
        ),
        prompts=PromptsConfig(source="file:edits.jsonl", held_out="file:held_out.jsonl"),
        rollout=RolloutConfig(prompts=64, group=8, steps=10, batch=4),
        rewards=RewardsConfig(judge="server:judge-edit"),
        advantage=AdvantageConfig(min_group_std=0.05, max_group_mean=0.9),
        optimiser=OptimiserConfig(lr=3e-4, micro_batch=2),
        run=RunConfig(epochs=400, save_every=20, audit_every=10),
    )


def single_24gb() -> NFTConfig:
    """SD3.5-Medium in four bits and an NF4 judge taking turns on one 24 GB card."""
    return NFTConfig(
        model=ModelConfig(
            family="sd3",
            pipeline="stabilityai/stable-diffusion-3.5-medium",
            precision="bf16",
            base="nf4",
            height=512,
            width=512,
            text_length=128,
            offload=True,
            gradient_checkpointing=True,
        ),
        prompts=PromptsConfig(source="file:prompts.jsonl", held_out="file:held_out.jsonl"),
        rollout=RolloutConfig(prompts=16, group=12, steps=10, batch=8),
        rewards=RewardsConfig(judge="local:/models/RationalRewards-8B-T2I", precision="nf4", batch=4, time_share=True),
        times=TimesConfig(count=5),
        optimiser=OptimiserConfig(kind="adamw8bit", lr=2e-4, micro_batch=4),
        run=RunConfig(epochs=300, save_every=10, audit_every=10),
    )


PRESETS: dict[str, Callable[[], NFTConfig]] = {
    preset.__name__: preset
    for preset in (
        miniature_cpu,
        sd35_medium_8gpu,
        flux_dev_t2i,
        flux_kontext_edit,
        flux2_klein_24gb,
        qwen_image_edit,
        single_24gb,
    )
}
