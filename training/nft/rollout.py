"""Sampling: noise -> clean latents -> pictures, with the family's own times and diffusers' own solver."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from rationalrewards_core.messages import UserRequest

from .config import RolloutConfig
from .families.base import Conditioning, ModelFamily, joined
from .guidance import guided_velocity
from .prompts import TrainingPrompt, request_key
from .timesteps import seeded


class ConditioningCache:
    """Conditioning of requests, kept on the CPU: at least the latest asked for, and up to `limit` earlier ones.

    With `drops` it also knows what stands for no caption.
    """

    def __init__(self, family: ModelFamily, limit: int = 1024, *, drops: bool = False) -> None:
        self._family, self._limit, self._drops = family, limit, drops
        self._conditioning: dict[str, Conditioning] = {}
        self._dropped: Conditioning | None = None

    def prepare(self, requests: Sequence[UserRequest]) -> None:
        """Encode what is new, with the text encoders (and the VAE, for sources) on the device for that long."""
        by_key = {request_key(r): r for r in requests}
        earlier = [key for key in self._conditioning if key not in by_key]
        for key in earlier[: max(0, len(earlier) + len(by_key) - self._limit)]:
            del self._conditioning[key]
        new = {key: request for key, request in by_key.items() if key not in self._conditioning}
        if not new:
            return
        parts = (*self._family.text_encoders, *(("vae",) if self._family.edits else ()))
        if self._family.config.offload:
            self._family.to(self._family.device, parts=parts)
        for key, request in new.items():
            self._conditioning[key] = _on_cpu(self._family.encode(request))
        if self._drops and self._dropped is None:
            self._dropped = _on_cpu(self._family.encode_dropped())
        if self._family.config.offload:
            self._family.to("cpu", parts=parts)

    def batch(self, requests: Sequence[UserRequest]) -> Conditioning:
        """Conditioning of these requests, `[B ...]` on the family's device."""
        return joined([self._conditioning[request_key(r)] for r in requests], self._family.device)

    def dropped(self, count: int) -> Conditioning | None:
        """Conditioning without a caption, `[count ...]` on the family's device; None where it was not asked for."""
        return None if self._dropped is None else joined([self._dropped] * count, self._family.device)


def _on_cpu(conditioning: Conditioning) -> Conditioning:
    return {name: t.detach().cpu() for name, t in conditioning.items()}


class Stepper(Protocol):
    def step(self, velocity: Tensor, index: int, x: Tensor) -> Tensor: ...


class Euler:
    """x_{i+1} = x_i + (t_{i+1} - t_i) v."""

    def __init__(self, times_T1: Tensor) -> None:
        self._times = times_T1

    def step(self, velocity: Tensor, index: int, x: Tensor) -> Tensor:
        return x + (self._times[index + 1] - self._times[index]) * velocity


class DPM2:
    """Second-order multistep DPM-Solver++ from diffusers on the family's own times; first and last step first order."""

    def __init__(self, times_T1: Tensor) -> None:
        from diffusers import DPMSolverMultistepScheduler

        self._scheduler = DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, solver_order=2, final_sigmas_type="zero"
        )
        self._scheduler.set_timesteps(len(times_T1) - 1)
        # Its own times are rounded to whole numbers and know no shift by size; the family's are neither.
        self._scheduler.sigmas = times_T1
        self._scheduler.set_begin_index(0)

    def step(self, velocity: Tensor, index: int, x: Tensor) -> Tensor:
        stepped: Tensor = self._scheduler.step(velocity, self._scheduler.timesteps[index], x, return_dict=False)[0]
        return stepped


@torch.no_grad()
def sample_latents(
    family: ModelFamily,
    model: Any,
    start_B: Tensor,
    conditioning: Conditioning,
    times_T1: Tensor,
    solver: str,
    dropped: Conditioning | None = None,
    guidance: float = 1.0,
) -> Tensor:
    """Integrate from noise `start_B` down to clean latents, both `[B ...]`; `dropped` is used by `guidance` above 1."""
    stepper: Stepper = DPM2(times_T1) if solver == "dpm2" else Euler(times_T1)
    x = start_B
    for index, t in enumerate(times_T1[:-1]):
        t_B = t.to(x.device).expand(len(x))
        velocity = guided_velocity(family, model, x, t_B, conditioning, dropped, guidance)
        x = stepper.step(velocity, index, x)
    return x


@dataclass(frozen=True)
class Chunk:
    """Some rollouts of an epoch, in order."""

    requests: tuple[UserRequest, ...]
    x_0_B: Tensor
    """On the CPU."""
    images: tuple[Image.Image, ...]


def sample_groups(
    family: ModelFamily,
    model: Any,
    encoded: ConditioningCache,
    prompts: Sequence[TrainingPrompt],
    seeds: Sequence[tuple[int, ...]],
    config: RolloutConfig,
    group: int,
) -> Iterator[Chunk]:
    """`group` rollouts of every prompt, prompt by prompt, in batches; `seeds` has one tuple per prompt.

    A rollout's noise depends on its own seeds only, never on the batch it falls in.
    """
    times = family.times(config.steps)
    members = [
        (prompt, (*seed, member)) for prompt, seed in zip(prompts, seeds, strict=True) for member in range(group)
    ]
    for begin in range(0, len(members), config.batch):
        part = members[begin : begin + config.batch]
        start = torch.stack([torch.randn(family.latent_shape(), generator=seeded("start", *s)) for _, s in part])
        conditioning = encoded.batch([prompt.sampled for prompt, _ in part])
        dropped = encoded.dropped(len(part))
        x_0 = sample_latents(
            family, model, start.to(family.device), conditioning, times, config.solver, dropped, config.guidance
        )
        if family.config.offload:
            family.to(family.device, parts=("vae",))
        images = family.decode(x_0)
        if family.config.offload:
            family.to("cpu", parts=("vae",))
        yield Chunk(tuple(prompt.request for prompt, _ in part), x_0.float().cpu(), tuple(images))
