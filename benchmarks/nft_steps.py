"""One optimiser step, ours against the published loop's, same tensors and weights: seconds, and the gradients' distance.

Ours leaves out what cannot differ: the reference before the first step or without a KL weight, the old policy right
after a hard copy. Neither side samples or judges here.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from benchmarks.nft_published import published_step
from rationalrewards_core.messages import UserRequest
from training.nft.config import NFTConfig, changed
from training.nft.families import family_class
from training.nft.families.base import ModelFamily
from training.nft.policy import LoraPolicy, stepped
from training.nft.presets import miniature_cpu
from training.nft.prompts import TrainingPrompt
from training.nft.rollout import ConditioningCache
from training.nft.timesteps import plan_times
from training.nft.update import TrainingSet, gradients, pairs_of

REQUESTS = ("a large red circle", "a small blue square", 'a green triangle with the word "OK"')
State = Literal["first", "hard copy", "apart"]


@dataclass(frozen=True, kw_only=True)
class StepSeconds:
    """Processor seconds of one optimiser step on each side."""

    published: float
    ours: float
    difference: float
    """Largest difference between the two sides' gradients, relative to the largest gradient."""


class Steps:
    """A miniature with three policies and the pairs of one optimiser step."""

    def __init__(self, *, precision: str = "fp32", kl_weight: float = 1e-2, compiled: bool = False) -> None:
        self.config = step_config(precision, kl_weight)
        self.family: ModelFamily = family_class("miniature").load(self.config.model)
        self.family.freeze()
        self.policy = LoraPolicy(self.family.transformer, self.config.policy, self.family.lora_targets, 0)
        if compiled:
            self.family.compile()
        self._encoded = ConditioningCache(self.family)
        self._training_set = _training_set(self.config, self.family, self._encoded)
        self._pairs = pairs_of(self._training_set, self._training_set.numbers, 0)
        self._accelerator = Accelerator()

    @property
    def pairs(self) -> int:
        return len(self._pairs)

    def ours(self) -> None:
        parts = (self.family, self.policy, self._encoded, self.config, self._accelerator)
        gradients(self._training_set, self._pairs, len(self._pairs), *parts)

    def published(self) -> None:
        published_step(self._training_set, self._pairs, self.family, self.policy, self._encoded, self.config)

    def gradients(self, work: Callable[[], None]) -> list[Tensor]:
        for parameter in self.policy.parameters:
            parameter.grad = None
        work()
        return [_gradient(parameter) for parameter in self.policy.parameters]


def measured(published: Steps, ours: Steps, rounds: int) -> StepSeconds:
    """The two sides in turn; the first round warms up and compares."""
    plain, gradients = published.gradients(published.published), ours.gradients(ours.ours)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for seconds, work in zip(times, (published.published, ours.ours), strict=True):
            started = time.process_time()
            work()
            seconds.append(time.process_time() - started)
    largest = max(float(gradient.abs().max()) for gradient in plain)
    distance = max(float((a - b).abs().max()) for a, b in zip(plain, gradients, strict=True))
    medians = [statistics.median(seconds) for seconds in times]
    return StepSeconds(published=medians[0], ours=medians[1], difference=distance / largest)


def put(policy: LoraPolicy, state: State) -> None:
    """The three policies as they are at some point of a run."""
    _move(policy, 0)
    policy.follow(0.0)
    policy.at_reference = state == "first"
    if state == "first":
        _reset(policy)
    if state == "apart":
        _move(policy, 1)
        stepped(policy)


def step_config(precision: str, kl_weight: float) -> NFTConfig:
    table: dict[str, Any] = {
        "model": {"precision": precision},
        "rollout": {"prompts": len(REQUESTS), "group": 4, "steps": 10},
        "times": {"count": 4},
        "optimiser": {"micro_batch": 16},
        "loss": {"kl_weight": kl_weight},
    }
    return changed(miniature_cpu(), table)


def _training_set(config: NFTConfig, family: ModelFamily, encoded: ConditioningCache) -> TrainingSet:
    prompts = [TrainingPrompt(UserRequest(text)) for text in REQUESTS]
    encoded.prepare([p.request for p in prompts])
    generator = torch.Generator().manual_seed(0)
    shape = (len(prompts), config.rollout.group)
    times = plan_times(config.times, family.times(config.rollout.steps)[:-1], 0, 0, range(len(prompts)), shape[1])
    x_0 = torch.randn(*shape, *family.latent_shape(), generator=generator)
    advantages = torch.randn(shape, generator=generator).clamp(-1.0, 1.0)
    used = torch.ones(shape, dtype=torch.bool)
    return TrainingSet(0, prompts, list(range(len(prompts))), x_0, advantages, used, times)


@torch.no_grad()
def _move(policy: LoraPolicy, seed: int) -> None:
    """Both factors of every adapter, to where this seed says."""
    for number, parameter in enumerate(policy.parameters):
        parameter.normal_(std=0.02, generator=torch.Generator().manual_seed(1000 * seed + number))


@torch.no_grad()
def _reset(policy: LoraPolicy) -> None:
    """As before training: the second factors are zero, so that all three policies are equal."""
    for name, parameter in zip(policy.names, policy.parameters, strict=True):
        if ".lora_B." in name:
            parameter.zero_()
    policy.follow(0.0)


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad.clone()
