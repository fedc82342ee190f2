"""Stage 2 of the generator: a small SD3 transformer with two small CLIP text encoders, by flow matching.

`t` is in [0, 1], 0 clean, 1 noise; x_t = (1 - t) x_0 + t eps; the model predicts v = eps - x_0 at
scheduler timestep 1000 t, as Stable Diffusion 3 does (arXiv 2403.03206).
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, PreTrainedTokenizerFast

from rationalrewards_core.backends.device import fast_autocast
from rationalrewards_core.miniature.generator import sample_pictures
from rationalrewards_core.miniature.oracle import oracle_critique
from rationalrewards_core.miniature.world import detailed_request, sample_wish, short_request
from rationalrewards_core.reward import reward
from rationalrewards_core.rubric_file import generation_rubric

from ...contact_sheet import contact_sheet
from ...run import RunDir
from .autoencoder import encode_mean, to_tensor
from .captions import sample_captioned
from .optimiser import MuonAdamW
from .tokenisers import caption_tokeniser

log = logging.getLogger("rationalrewards.training.miniature")


@dataclass(frozen=True, kw_only=True)
class FlowConfig:
    seed: int = 11
    """Seeds weights, data and noise; step `i` sees the same batch in every run."""
    width: int = 192
    layers: int = 6
    text_width: int = 96
    text_layers: int = 3
    text_length: int = 32
    """Caption tokens, with the start and end tokens."""
    pool: int = 65_536
    """Captioned pictures rendered once, as latents."""
    steps: int = 4_600
    horizon: int = 7_000
    """Steps of the learning rate's cosine; the run ends earlier, by cooling down."""
    cooldown: int = 1_200
    batch: int = 64
    lr: float = 2e-3
    time_mean: float = 0.3
    time_deviation: float = 1.2
    """Of the logit-normal distribution that training times are drawn from."""
    time_uniform: float = 0.2
    """Share of training times drawn evenly from 0..1 instead, so that the sampler's first steps are learnt too."""
    drop_caption: float = 0.1
    """Share of captions replaced by the empty one, for classifier-free guidance."""
    ema: float = 0.999
    evaluate_every: int = 500
    save_every: int = 250


class FlowModel(nn.Module):
    """Everything that is trained in this stage."""

    def __init__(self, config: FlowConfig, tokeniser: PreTrainedTokenizerFast, latent_channels: int, side: int) -> None:
        super().__init__()
        torch.manual_seed(config.seed)
        text = CLIPTextConfig(
            vocab_size=len(tokeniser),
            hidden_size=config.text_width,
            intermediate_size=4 * config.text_width,
            num_hidden_layers=config.text_layers,
            num_attention_heads=config.text_width // 32,
            max_position_embeddings=config.text_length,
            projection_dim=config.text_width,
            pad_token_id=tokeniser.pad_token_id,
            bos_token_id=tokeniser.bos_token_id,
            eos_token_id=tokeniser.eos_token_id,
        )
        self.text_encoder = CLIPTextModelWithProjection(text)
        self.text_encoder_2 = CLIPTextModelWithProjection(text)
        self.transformer = SD3Transformer2DModel(
            sample_size=side,
            patch_size=2,
            in_channels=latent_channels,
            out_channels=latent_channels,
            num_layers=config.layers,
            attention_head_dim=32,
            num_attention_heads=config.width // 32,
            joint_attention_dim=2 * config.text_width,
            caption_projection_dim=config.width,
            pooled_projection_dim=2 * config.text_width,
            pos_embed_max_size=side // 2,
            qk_norm="rms_norm",
        )

    def forward(self, latents: Tensor, t: Tensor, ids: Tensor) -> Tensor:
        """Velocity [B, C, H, W] at noisy `latents`, time `t` [B] and caption token `ids` [B, L]."""
        encoded = [encoder(ids, output_hidden_states=True) for encoder in (self.text_encoder, self.text_encoder_2)]
        tokens = torch.cat([e.hidden_states[-2] for e in encoded], dim=-1)
        pooled = torch.cat([e.text_embeds for e in encoded], dim=-1)
        velocity: Tensor = self.transformer(
            hidden_states=latents, encoder_hidden_states=tokens, pooled_projections=pooled, timestep=1000.0 * t
        ).sample
        return velocity


def build_pool(config: FlowConfig, autoencoder: AutoencoderKL, path: Path) -> tuple[Tensor, list[str]]:
    """Latents [N, 8, 12, 12] (mean 0, deviation 1) and captions, rendered once and kept beside the run."""
    file, captions_file = path / "pool.safetensors", path / "captions.txt"
    if file.exists():
        return load_file(file)["latents"], captions_file.read_text().splitlines()
    scale, shift = autoencoder.config.scaling_factor, autoencoder.config.shift_factor
    latents, captions = [], []
    for start in tqdm(range(0, config.pool, 256), desc="rendering", disable=None):
        rng = np.random.default_rng([config.seed, 2, start])
        examples = [sample_captioned(rng) for _ in range(min(256, config.pool - start))]
        captions += [example.caption for example in examples]
        latents.append(((encode_mean(autoencoder, to_tensor([e.picture for e in examples])) - shift) * scale).half())
    stacked = torch.cat(latents).contiguous()
    save_file({"latents": stacked}, file)
    captions_file.write_text("\n".join(captions))
    return stacked, captions


def train_flow(config: FlowConfig, autoencoder: AutoencoderKL, path: Path) -> StableDiffusion3Pipeline:
    """Train or resume; returns the whole pipeline with averaged weights."""
    run = RunDir(path, config, saved_files=("pool.safetensors",))
    latents, captions = build_pool(config, autoencoder, path)
    tokeniser = caption_tokeniser(captions[:8192], length=config.text_length)
    ids = torch.tensor(tokeniser(captions, padding="max_length", truncation=True).input_ids)
    empty = torch.tensor(tokeniser("", padding="max_length").input_ids)
    model = FlowModel(config, tokeniser, latents.shape[1], latents.shape[2])
    average = copy.deepcopy(model).requires_grad_(False).eval()
    optimiser = MuonAdamW(
        model.named_parameters(),
        lr=config.lr,
        steps=config.steps,
        horizon=config.horizon,
        cooldown=config.cooldown,
    )
    parts = {"model": model, "average": average, "optimiser": optimiser}
    start = run.resume(parts)
    pipeline = assemble(average, tokeniser, autoencoder)
    losses: list[float] = []
    for step in range(start, config.steps):
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        batch = torch.randint(len(latents), (config.batch,), generator=generator)
        x_0 = latents[batch].float()
        dropped = torch.rand(config.batch, generator=generator) < config.drop_caption
        tokens = torch.where(dropped[:, None], empty, ids[batch])
        t = sample_times(config, generator)
        noise = torch.randn(x_0.shape, generator=generator)
        tt = t[:, None, None, None]
        # The plain attention kernel: for short sequences it is faster on a CPU than the fused one.
        with fast_autocast("cpu"), sdpa_kernel(SDPBackend.MATH):
            velocity = model((1 - tt) * x_0 + tt * noise, t, tokens)
        loss = (velocity.float() - (noise - x_0)).square().mean()
        loss.backward()
        optimiser.step(step)
        follow(average, model, min(config.ema, (step + 1) / (step + 20)))
        losses.append(loss.item())
        if (step + 1) % 50 == 0:
            run.log(step + 1, loss=float(np.mean(losses)))
            losses.clear()
        if (step + 1) % config.evaluate_every == 0 or step + 1 == config.steps:
            run.log(step + 1, **evaluate(pipeline, run.samples / f"{step + 1:06d}.png"))
        if (step + 1) % config.save_every == 0 or step + 1 == config.steps:
            run.save_parts(parts, step + 1)
    return pipeline


def sample_times(config: FlowConfig, generator: torch.Generator) -> Tensor:
    """Training times [B] in 0..1."""
    normal = torch.randn(config.batch, generator=generator) * config.time_deviation + config.time_mean
    even = torch.rand(config.batch, generator=generator)
    return torch.where(torch.rand(config.batch, generator=generator) < config.time_uniform, even, normal.sigmoid())


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Exponential moving average of the weights."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1.0 - decay)


def assemble(
    model: FlowModel, tokeniser: PreTrainedTokenizerFast, autoencoder: AutoencoderKL
) -> StableDiffusion3Pipeline:
    """The stock diffusers pipeline around the trained parts; it has no T5 encoder."""
    pipeline = StableDiffusion3Pipeline(
        transformer=model.transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        vae=autoencoder,
        text_encoder=model.text_encoder,
        tokenizer=tokeniser,
        text_encoder_2=model.text_encoder_2,
        tokenizer_2=tokeniser,
        text_encoder_3=None,
        tokenizer_3=None,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def evaluate(pipeline: StableDiffusion3Pipeline, sheet: Path | None = None, count: int = 64) -> dict[str, float]:
    """The oracle's opinion of reserved requests, asked briefly and in detail."""
    rng = np.random.default_rng(99)
    wishes = [sample_wish(rng, reserved=True) for _ in range(count)]
    table: dict[str, float] = {}
    pictures: list[Image.Image] = []
    for style, ask in (("short", short_request), ("detailed", detailed_request)):
        samples = sample_pictures(pipeline, [ask(w) for w in wishes], seeds=list(range(count)))
        critiques = [oracle_critique(short_request(w), p) for w, p in zip(wishes, samples, strict=True)]
        rewards = [reward(c, generation_rubric()) for c in critiques]
        faithful = [c.judgement("text_faithfulness").score or 0.0 for c in critiques]
        table[f"{style}_reward"] = float(np.mean(rewards))
        table[f"{style}_faithfulness"] = float(np.mean(faithful))
        table[f"{style}_right"] = float(np.mean([score >= 3.95 for score in faithful]))
        table[f"{style}_quality"] = float(np.mean([c.judgement("physical_quality").score for c in critiques]))
        text = [c.judgement("text_rendering").score for c in critiques]
        table[f"{style}_text"] = float(np.mean([score for score in text if score is not None]))
        pictures += samples[:16]
    if sheet is not None:
        contact_sheet(pictures, 16).save(sheet)
    return table
