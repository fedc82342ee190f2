"""One micro-batch of an NFT step at Stable Diffusion 3.5 Medium's shape, with random weights."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import torch

from training.nft.config import ModelConfig, NFTConfig, changed
from training.nft.families.sd3 import StableDiffusion3
from training.nft.policy import LoraPolicy
from training.nft.presets import sd35_medium_8gpu
from training.nft.update import MicroBatch, accumulate

SHAPES: dict[str, dict[str, Any]] = {
    "8b": {
        "sample_size": 128,
        "patch_size": 2,
        "in_channels": 16,
        "out_channels": 16,
        "num_layers": 24,
        "attention_head_dim": 64,
        "num_attention_heads": 24,
        "joint_attention_dim": 4096,
        "caption_projection_dim": 1536,
        "pooled_projection_dim": 2048,
        "pos_embed_max_size": 384,
        "dual_attention_layers": tuple(range(13)),
        "qk_norm": "rms_norm",
    },
    "tiny": {
        "sample_size": 8,
        "patch_size": 2,
        "in_channels": 4,
        "out_channels": 4,
        "num_layers": 2,
        "attention_head_dim": 8,
        "num_attention_heads": 2,
        "joint_attention_dim": 16,
        "caption_projection_dim": 16,
        "pooled_projection_dim": 16,
        "pos_embed_max_size": 16,
        "dual_attention_layers": (0,),
        "qk_norm": "rms_norm",
    },
}


def measured(shape: str, device: str, rounds: int = 4) -> dict[str, Any]:
    """Seconds and peak memory of a step with KL weight, its three policies all different (three passes, one backward)."""
    config = _config(shape)
    family, policy = _parts(shape, device, config)
    batch = _batch(shape, device, config)
    rows: dict[str, Any] = {"micro-batch": config.optimiser.micro_batch, "parameters": _parameters(family.transformer)}
    for name, at_start in (("three policies apart", False), ("first step, all equal", True)):
        policy.at_reference = policy.old_is_current = at_start
        _synchronise(device, reset=True)
        seconds = []
        for _ in range(rounds):
            started = time.perf_counter()
            losses, _ = accumulate(batch, family, policy, config.loss, config.advantage)
            losses.mean().backward()
            _synchronise(device)
            seconds.append(time.perf_counter() - started)
        rows[f"{name}: seconds"] = min(seconds)
        if device != "cpu":
            rows[f"{name}: peak GiB"] = torch.cuda.max_memory_allocated() / 2**30
    return rows


def _config(shape: str) -> NFTConfig:
    config = sd35_medium_8gpu()
    return changed(config, {"loss": {"kl_weight": 1e-3}, "optimiser": {"micro_batch": 9 if shape == "8b" else 2}})


def _parts(shape: str, device: str, config: NFTConfig) -> tuple[StableDiffusion3, LoraPolicy]:
    from diffusers import SD3Transformer2DModel

    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if device != "cpu" else torch.float32)
    try:
        with torch.device(device):
            transformer = SD3Transformer2DModel(**SHAPES[shape])
    finally:
        torch.set_default_dtype(default)
    side = 512 if shape == "8b" else 64
    pipeline = SimpleNamespace(transformer=transformer, vae_scale_factor=8)
    family = StableDiffusion3(pipeline, ModelConfig(family="sd3", pipeline="random", height=side, width=side))
    return family, LoraPolicy(transformer, config.policy, family.lora_targets, 0)


def _batch(shape: str, device: str, config: NFTConfig) -> MicroBatch:
    sizes, count = SHAPES[shape], config.optimiser.micro_batch
    side = 64 if shape == "8b" else 8
    generator = torch.Generator(device).manual_seed(0)

    def noise(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=generator, device=device)

    latents = noise(count, sizes["in_channels"], side, side)
    dtype = torch.bfloat16 if device != "cpu" else torch.float32
    conditioning = {
        "tokens": noise(count, 333, sizes["joint_attention_dim"]).to(dtype),
        "pooled": noise(count, sizes["pooled_projection_dim"]).to(dtype),
    }
    times = torch.linspace(0.1, 0.9, count, device=device)
    return MicroBatch(latents, latents + noise(*latents.shape), times, noise(count).clamp(-1, 1), conditioning)


def _parameters(module: Any) -> str:
    return f"{sum(p.numel() for p in module.parameters()) / 1e9:.2f} billion"


def _synchronise(device: str, *, reset: bool = False) -> None:
    if device != "cpu":
        torch.cuda.synchronize()
        if reset:
            torch.cuda.reset_peak_memory_stats()


if __name__ == "__main__":
    print(measured("tiny", "cpu"))
