"""One optimiser step of the NFT trainer against a plain transcription of the published loop, same tensors, same weights.

The plain loop runs every (rollout, time) through the old, the current and the reference policy. Ours leaves out what
cannot differ: the reference before the first step, the old policy right after a hard copy. Both sum to the same
gradient, which is checked in the same run. Neither side samples or judges here.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from benchmarks.timing import table
from rationalrewards_core.messages import UserRequest
from training.nft.config import NFTConfig, changed
from training.nft.families import family_class
from training.nft.families.base import ModelFamily
from training.nft.policy import LoraPolicy
from training.nft.presets import miniature_cpu
from training.nft.prompts import TrainingPrompt
from training.nft.rollout import Encoded
from training.nft.timesteps import plan_times
from training.nft.update import Pair, TrainingSet, gradients, make_batch, pairs_of

REQUESTS = ("a large red circle", "a small blue square", 'a green triangle with the word "OK"')


def run(group: int = 4, rounds: int = 3) -> str:
    config = changed(
        miniature_cpu(),
        {
            "model": {"precision": "fp32"},
            "rollout": {"prompts": len(REQUESTS), "group": group},
            "optimiser": {"micro_batch": 16},
            "loss": {"kl_weight": 1e-2},
        },
    )
    family = family_class("miniature").load(config.model)
    family.freeze()
    policy = LoraPolicy(family.transformer, config.policy, family.lora_targets, 0)
    encoded = Encoded(family)
    chosen = _chosen(config, family, encoded)
    pairs = pairs_of(chosen, chosen.numbers, 0)
    accelerator = Accelerator()
    rows = []
    for state, prepare in (("first step", _first), ("right after a hard copy", _on_policy), ("in general", _apart)):
        prepare(policy)

        def ours() -> None:
            gradients(chosen, pairs, len(pairs), family, policy, encoded, config, accelerator)

        def plain() -> None:
            _published(chosen, pairs, family, policy, encoded, config)

        difference = _largest_difference(policy, plain, ours)
        seconds = _cpu_seconds({"published": plain, "ours": ours}, rounds)
        _clear(policy)
        ratio = seconds["published"] / seconds["ours"]
        rows.append([state, seconds["published"], seconds["ours"], ratio, f"{difference:.1e}"])
    heads = [f"{len(pairs)} pairs, policies", "published, CPU s", "ours, CPU s", "times faster", "gradients differ by"]
    return table(heads, rows) + "\n\nPeak memory is not measured on a CPU."


def _cpu_seconds(variants: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median processor seconds, in turn: unlike the clock they mean something on a machine that others use too."""
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, work in variants.items():
            started = time.process_time()
            work()
            taken[name].append(time.process_time() - started)
    return {name: statistics.median(values) for name, values in taken.items()}


def _chosen(config: NFTConfig, family: ModelFamily, encoded: Encoded) -> TrainingSet:
    prompts = [TrainingPrompt(UserRequest(text)) for text in REQUESTS]
    encoded.prepare([p.request for p in prompts])
    generator = torch.Generator().manual_seed(0)
    shape = (len(prompts), config.rollout.group)
    times = plan_times(config.times, family.times(config.rollout.steps)[:-1], 0, 0, range(len(prompts)), shape[1])
    x_0 = torch.randn(*shape, *family.latent_shape(), generator=generator)
    advantages = torch.randn(shape, generator=generator).clamp(-1.0, 1.0)
    used = torch.ones(shape, dtype=torch.bool)
    return TrainingSet(0, prompts, list(range(len(prompts))), x_0, advantages, used, times)


def _published(
    chosen: TrainingSet, pairs: list[Pair], family: ModelFamily, policy: LoraPolicy, encoded: Encoded, config: NFTConfig
) -> None:
    """Three passes per pair, the loss as the paper's code has it, gradients accumulated over micro-batches."""
    beta, clip = config.loss.mix_beta, config.advantage.clip
    size = config.optimiser.micro_batch
    for begin in range(0, len(pairs), size):
        batch = make_batch(chosen, pairs[begin : begin + size], family, encoded, config)

        def velocity(model: Any, batch: Any = batch) -> Tensor:
            return family.velocity(model, batch.x_t_B, batch.t_B, batch.conditioning)

        with policy.old() as model:
            old = velocity(model)
        with policy.reference() as model:
            reference = velocity(model)
        current = velocity(policy.module)
        t = batch.t_B.reshape(-1, 1, 1, 1)
        r = (batch.advantages_B.clamp(-clip, clip) / clip / 2.0 + 0.5).clamp(0.0, 1.0)
        losses = []
        for v in (beta * current + (1 - beta) * old, (1 + beta) * old - beta * current):
            guess = batch.x_t_B - t * v
            with torch.no_grad():
                weight = (guess.double() - batch.x_0_B.double()).abs().mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-5)
            losses.append(((guess - batch.x_0_B) ** 2 / weight).mean(dim=(1, 2, 3)))
        loss = (r * losses[0] / beta + (1 - r) * losses[1] / beta) * clip
        loss = loss + config.loss.kl_weight * ((current - reference) ** 2).mean(dim=(1, 2, 3))
        (loss.sum() / len(pairs)).backward()


def _first(policy: LoraPolicy) -> None:
    policy.follow(0.0)
    policy.at_reference = True


@torch.no_grad()
def _on_policy(policy: LoraPolicy) -> None:
    _move(policy, 1)
    policy.follow(0.0)
    policy.at_reference = False


@torch.no_grad()
def _apart(policy: LoraPolicy) -> None:
    policy.follow(0.0)
    _move(policy, 2)
    policy.old_is_current = policy.at_reference = False


def _move(policy: LoraPolicy, seed: int) -> None:
    for number, parameter in enumerate(policy.parameters):
        drawn = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1000 * seed + number))
        parameter.data.add_(drawn, alpha=0.02)


def _clear(policy: LoraPolicy) -> None:
    for parameter in policy.parameters:
        parameter.grad = None


def _largest_difference(policy: LoraPolicy, first: Callable[[], None], second: Callable[[], None]) -> float:
    """Relative to the largest gradient."""
    found: list[list[Tensor]] = []
    for work in (first, second):
        _clear(policy)
        work()
        found.append([_gradient(p) for p in policy.parameters])
    largest = max(float(g.abs().max()) for g in found[0])
    return max(float((a - b).abs().max()) for a, b in zip(*found, strict=True)) / largest


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad.clone()


if __name__ == "__main__":
    print(run())
