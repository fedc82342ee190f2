"""Stage 1 of the generator: a small AutoencoderKL from 48x48x3 pictures to 12x12x8 latents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from rationalrewards_core.backends.device import fast_autocast
from rationalrewards_core.miniature.world import SIDE

from ...run import RunDir
from .captions import sample_captioned


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    seed: int = 7
    """Seeds weights and pictures; step `i` sees the same batch in every run."""
    channels: tuple[int, ...] = (24, 48, 64)
    """Width of each resolution level: 48, 24 and 12 pixels."""
    latent_channels: int = 8
    steps: int = 1800
    batch: int = 48
    lr: float = 2e-3
    kl_weight: float = 1e-5
    """Small: it only keeps the latents' scale in bounds."""
    save_every: int = 200


def build(config: AutoencoderConfig) -> AutoencoderKL:
    torch.manual_seed(config.seed)
    levels = len(config.channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=config.channels,
        layers_per_block=1,
        latent_channels=config.latent_channels,
        norm_num_groups=8,
        sample_size=SIDE,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def to_tensor(pictures: list[np.ndarray]) -> Tensor:
    """Pictures [48, 48, 3] uint8 -> [B, 3, 48, 48] in -1..1."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def batch_pictures(config: AutoencoderConfig, step: int) -> Tensor:
    rng = np.random.default_rng([config.seed, 1, step])
    return to_tensor([sample_captioned(rng).picture for _ in range(config.batch)])


def train_autoencoder(config: AutoencoderConfig, path: Path) -> AutoencoderKL:
    """Train or resume; returns the model with its latent scale and shift measured."""
    run = RunDir(path, config)
    model = build(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.lr, betas=(0.9, 0.98), weight_decay=0.0)
    parts = {"model": model, "optimiser": optimiser}
    for step in range(run.resume(parts), config.steps):
        progress = step / config.steps
        for group in optimiser.param_groups:
            group["lr"] = config.lr * min(1.0, (step + 1) / 100) * (1.0 - 0.95 * progress)
        pictures = batch_pictures(config, step)
        torch.manual_seed(config.seed * 1_000_003 + step)
        with fast_autocast("cpu"):
            posterior = model.encode(pictures).latent_dist
            decoded = model.decode(posterior.sample()).sample
        error = decoded.float() - pictures
        loss = error.abs().mean() + 2.0 * error.square().mean()
        kl = posterior.kl().float().mean() / pictures[0].numel()
        (loss + config.kl_weight * kl).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if (step + 1) % 50 == 0:
            mse = error.square().mean().item() / 4
            run.log(step + 1, loss=loss.item(), kl=kl.item(), psnr=float(-10 * np.log10(mse)))
        if (step + 1) % config.save_every == 0 or step + 1 == config.steps:
            run.save_parts(parts, step + 1)
    return with_measured_scale(model, config)


@torch.no_grad()
def with_measured_scale(model: AutoencoderKL, config: AutoencoderConfig) -> AutoencoderKL:
    """Set `scaling_factor` and `shift_factor` so that latents have mean 0 and deviation 1."""
    model.eval()
    latents = torch.cat([encode_mean(model, batch_pictures(config, 10_000_000 + i)) for i in range(20)])
    model.register_to_config(scaling_factor=1.0 / float(latents.std()), shift_factor=float(latents.mean()))
    return model


@torch.no_grad()
def encode_mean(model: AutoencoderKL, pictures: Tensor) -> Tensor:
    """Posterior means [B, 8, 12, 12], unscaled."""
    with fast_autocast("cpu"):
        return model.encode(pictures).latent_dist.mean.float()


def reconstruct(model: AutoencoderKL, pictures: Tensor) -> Tensor:
    """Pictures through the autoencoder and back, -1..1."""
    with torch.no_grad(), fast_autocast("cpu"):
        return model.decode(model.encode(pictures).latent_dist.mean).sample.float().clamp(-1, 1)


def to_pictures(tensor: Tensor) -> list[np.ndarray]:
    """[B, 3, 48, 48] in -1..1 -> pictures uint8."""
    pixels = ((tensor.clamp(-1, 1) + 1) * 127.5 + 0.5).to(torch.uint8).permute(0, 2, 3, 1)
    return list(pixels.numpy())
