"""Every family on a tiny random pipeline of the real classes: rollouts, velocities, adapters, saved files."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("peft")

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from rationalrewards_core.messages import UserRequest
from training.nft.config import ModelConfig, PolicyConfig
from training.nft.families import MODULES, family_class
from training.nft.families.base import ModelFamily
from training.nft.families.flux2 import Flux2
from training.nft.families.flux2_klein import Flux2Klein
from training.nft.lora_file import FILE, save_weights
from training.nft.loss import noisy
from training.nft.policy import LoraPolicy
from training.nft.rollout import ConditioningCache, sample_latents

STEPS = 4
SIDE = 16


def _tiny() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tiny_pipelines", Path(__file__).parent / "tiny_pipelines.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TINY = _tiny()


@dataclass(frozen=True)
class Subject:
    make: Callable[[], Any]
    call: dict[str, Any]
    """What the pipeline is called with, so that it does what the family does."""
    adapters: int
    """Modules that must get one."""


SUBJECTS = {
    # Two layers of eight projections, less the last layer's two of text outputs, and the dual attention is untouched.
    "sd3": Subject(TINY.sd3, {"guidance_scale": 1.0, "max_sequence_length": 0}, 15),
    "flux": Subject(TINY.flux, {"guidance_scale": 2.5, "max_sequence_length": 32}, 8 + 3),
    "flux_kontext": Subject(
        lambda: TINY.flux("FluxKontextPipeline"),
        {"guidance_scale": 2.5, "max_sequence_length": 32, "_auto_resize": False, "max_area": SIDE * SIDE},
        8 + 3,
    ),
    "flux2": Subject(TINY.flux2, {"guidance_scale": 2.5, "max_sequence_length": 32}, 8 + 1),
    "flux2_klein": Subject(TINY.flux2_klein, {"guidance_scale": 1.0, "max_sequence_length": 32}, 8 + 1),
    "qwen_image": Subject(TINY.qwen_image, {"true_cfg_scale": 1.0, "max_sequence_length": 32}, 16),
    "qwen_image_edit": Subject(TINY.qwen_image_edit, {"true_cfg_scale": 1.0}, 16),
    "z_image": Subject(TINY.z_image, {"guidance_scale": 0.0, "max_sequence_length": 32}, (2 + 1 + 1) * 4),
}


def make_family(name: str) -> ModelFamily:
    config = ModelConfig(family=name, height=SIDE, width=SIDE, guidance=2.5, text_length=32)
    family = family_class(name)(SUBJECTS[name].make(), config)
    family.pipeline.set_progress_bar_config(disable=True)
    if name == "sd3":
        family.text_length = lambda: 0  # type: ignore[attr-defined]  # no third encoder, no room for its tokens
    family.freeze()
    return family


@pytest.fixture(scope="module")
def families() -> dict[str, ModelFamily]:
    return {name: make_family(name) for name in SUBJECTS}


def request_for(family: ModelFamily, text: str = "a large red circle") -> UserRequest:
    pixels = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    return UserRequest(text, (Image.fromarray(pixels),) if family.edits else ())


def pipeline_call(family: ModelFamily, name: str, request: UserRequest, start: torch.Tensor, output: str) -> Any:
    call = {**SUBJECTS[name].call, **({"image": request.sources[0]} if family.edits else {})}
    return family.pipeline(
        prompt=request.text,
        height=SIDE,
        width=SIDE,
        num_inference_steps=STEPS,
        latents=family.unpacked(start) if isinstance(family, Flux2) else start,
        output_type=output,
        **call,
    ).images


def as_sampled(family: ModelFamily, latents: torch.Tensor) -> torch.Tensor:
    """FLUX.2-klein hands out its latents as its VAE takes them; the others do as they were sampled."""
    if not isinstance(family, Flux2Klein):
        return latents
    vae = family.pipeline.vae
    mean = vae.bn.running_mean.view(1, -1, 1, 1)
    deviation = (vae.bn.running_var.view(1, -1, 1, 1) + vae.config.batch_norm_eps).sqrt()
    packed: torch.Tensor = family.pipeline._pack_latents(
        (family.pipeline._patchify_latents(latents) - mean) / deviation
    )
    return packed


@pytest.fixture(autouse=True)
def _small_condition_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """The edit pipeline always works at 1024 x 1024; here at the rollout's size, as the family does."""
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as plus

    monkeypatch.setattr(plus, "VAE_IMAGE_SIZE", SIDE * SIDE)
    monkeypatch.setattr(plus, "CONDITION_IMAGE_SIZE", 32 * 32)
    monkeypatch.setattr(plus, "calculate_dimensions", lambda area, ratio: (int(area**0.5), int(area**0.5), None)[:2])


@pytest.mark.parametrize("name", SUBJECTS)
def test_rollouts_are_the_pipelines_own(name: str, families: dict[str, ModelFamily]) -> None:
    """Same noise, Euler: the family's latents and pictures are what the pipeline itself makes."""
    family = families[name]
    request = request_for(family)
    start = torch.randn(1, *family.latent_shape(), generator=torch.Generator().manual_seed(1))
    encoded = ConditioningCache(family)
    encoded.prepare([request])
    mine = sample_latents(family, family.transformer, start, encoded.batch([request]), family.times(STEPS), "euler")
    theirs = pipeline_call(family, name, request, start, "latent")
    theirs = as_sampled(family, theirs).reshape(mine.shape)
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    picture = pipeline_call(family, name, request, start, "pil")[0]
    difference = np.asarray(family.decode(mine)[0], np.int64) - np.asarray(picture, np.int64)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("name", SUBJECTS)
def test_velocities_at_the_trained_times_are_the_pipelines_own(
    name: str, families: dict[str, ModelFamily], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the pipeline's transformer gave at every step, against `velocity` at the same latents and times."""
    family = families[name]
    request = request_for(family)
    seen: list[torch.Tensor] = []
    scheduler = family.pipeline.scheduler
    step = scheduler.step

    def watched(output: torch.Tensor, timestep: Any, sample: torch.Tensor, **options: Any) -> Any:
        seen.append((sample.clone(), output.clone()))  # type: ignore[arg-type]
        return step(output, timestep, sample, **options)

    monkeypatch.setattr(scheduler, "step", watched)
    start = torch.randn(1, *family.latent_shape(), generator=torch.Generator().manual_seed(2))
    pipeline_call(family, name, request, start, "latent")
    encoded = ConditioningCache(family)
    encoded.prepare([request])
    assert len(seen) == STEPS
    for (x_t, velocity), t in zip(seen, family.times(STEPS), strict=False):
        with torch.no_grad():
            mine = family.velocity(family.transformer, x_t, t[None], encoded.batch([request]))
        torch.testing.assert_close(mine, velocity.reshape(mine.shape), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SUBJECTS)
def test_texts_of_different_length_share_a_batch(name: str, families: dict[str, ModelFamily]) -> None:
    family = families[name]
    requests = [request_for(family, "a red circle"), request_for(family, 'a small blue square with the word "OK"')]
    encoded = ConditioningCache(family)
    encoded.prepare(requests)
    x, t = torch.randn(2, *family.latent_shape()), torch.tensor([0.3, 0.8])
    with torch.no_grad():
        together = family.velocity(family.transformer, x, t, encoded.batch(requests))
        alone = [
            family.velocity(family.transformer, x[i : i + 1], t[i : i + 1], encoded.batch([requests[i]]))
            for i in range(2)
        ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-4


@pytest.mark.parametrize("name", SUBJECTS)
def test_adapters_train_save_and_reload(name: str, tmp_path: Path) -> None:
    """One step moves only the adapter; the saved file gives the pipeline the very same velocities."""
    family = make_family(name)
    request = request_for(family)
    policy = LoraPolicy(family.transformer, PolicyConfig(rank=4, alpha=8), family.lora_targets, 0)
    assert len(policy.parameters) == 2 * SUBJECTS[name].adapters
    encoded = ConditioningCache(family)
    encoded.prepare([request])
    batch = encoded.batch([request])
    x, t = torch.randn(1, *family.latent_shape()), torch.tensor([0.6])
    with policy.reference() as model:
        before = family.velocity(model, x, t, batch)
    optimiser = torch.optim.Adam(policy.parameters, lr=0.05)
    for _ in range(2):
        family.velocity(policy.module, noisy(x, torch.randn_like(x), t), t, batch).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()
    assert all(parameter.grad is None for _, parameter in family.transformer.named_parameters())
    with policy.current() as model:
        tuned = family.velocity(model, x, t, batch)
    with policy.old() as model:
        torch.testing.assert_close(family.velocity(model, x, t, batch), before)
    assert (tuned - before).abs().max() > 1e-3
    file = save_weights(policy, family, tmp_path)
    assert file == tmp_path / FILE
    assert len(load_file(file)) == len(policy.parameters)
    fresh = make_family(name)
    fresh.pipeline.load_lora_weights(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(fresh.velocity(fresh.transformer, x, t, batch), tuned, rtol=1e-4, atol=1e-5)


def test_frozen_weights_in_bf16_have_adapters_in_fp32() -> None:
    pipeline = TINY.sd3()
    pipeline.transformer.to(torch.bfloat16)
    config = ModelConfig(family="sd3", height=SIDE, width=SIDE, precision="bf16")
    family = family_class("sd3")(pipeline, config)
    policy = LoraPolicy(family.transformer, PolicyConfig(rank=4, alpha=8), family.lora_targets, 0)
    assert {p.dtype for p in policy.parameters} == {torch.float32}
    conditioning = {"tokens": torch.randn(1, 5, 64).bfloat16(), "pooled": torch.randn(1, 64).bfloat16()}
    velocity = family.velocity(policy.module, torch.randn(1, *family.latent_shape()), torch.tensor([0.5]), conditioning)
    assert velocity.dtype == torch.float32
    velocity.square().mean().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in policy.parameters)


def test_conditioning_of_old_epochs_goes() -> None:
    family = make_family("sd3")
    encoded = ConditioningCache(family, limit=3)
    for epoch in range(3):
        requests = [request_for(family, f"number {epoch} {i}") for i in range(2)]
        encoded.prepare(requests)
        encoded.batch(requests)
    assert len(encoded._conditioning) == 3


def test_every_family_is_tested() -> None:
    assert set(SUBJECTS) | {"miniature"} == set(MODULES)
