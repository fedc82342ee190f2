"""The optimiser's half of an epoch: (rollout, time) pairs -> gradients.

Of the three velocities the loss speaks of, only those are computed that differ: right after a hard copy the old
policy's is the current one's, before the first step so is the reference's, and without a KL or guard weight there is
no reference at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from ..sharding import unsynced
from .advantage import AdvantageConfig
from .config import LossConfig, NFTConfig
from .families.base import Conditioning, ModelFamily
from .guidance import guided_velocity, replaced, without_caption
from .loss import awm_loss, nft_loss, noisy, norm_guard, norm_ratio, optimality, velocity_kl
from .metrics import UpdateFigures
from .policy import Policy
from .prompts import TrainingPrompt
from .rollout import ConditioningCache
from .timesteps import seeded, training_noise

Pair = tuple[int, int, int]
"""Prompt (in this process), member of its group, number of its time."""


@dataclass(frozen=True)
class TrainingSet:
    """One process's part of an epoch."""

    epoch: int
    prompts: Sequence[TrainingPrompt]
    numbers: Sequence[int]
    """Of the prompts in the whole epoch, over all processes."""
    x_0_P_G: Tensor
    """Clean latents, `[P G ...]`."""
    advantages_P_G: Tensor
    used_P_G: Tensor
    times_P_G_N: Tensor


@dataclass(frozen=True)
class MicroBatch:
    """One micro-batch on the device."""

    x_0_B: Tensor
    x_t_B: Tensor
    t_B: Tensor
    advantages_B: Tensor
    conditioning: Conditioning
    dropped: Conditioning | None = None
    """Without captions, `[B ...]`; None where nothing asks for it."""
    guidance: float = 1.0
    """Of the velocity that is trained."""


def split_groups(config: NFTConfig, epoch: int) -> list[list[int]]:
    """Prompt numbers of each optimiser step of an epoch: every group once, in an order that all processes share."""
    order = torch.randperm(config.rollout.prompts, generator=seeded("order", config.run.seed, epoch)).tolist()
    return [order[update :: config.optimiser.updates] for update in range(config.optimiser.updates)]


def pairs_of(training_set: TrainingSet, numbers: Sequence[int], seed: int) -> list[Pair]:
    """The used pairs of these prompts that live in this process, shuffled."""
    samples = set(numbers)
    times = range(training_set.times_P_G_N.shape[-1])
    pairs = [
        (p, int(g), n)
        for p, number in enumerate(training_set.numbers)
        if number in samples
        for g in torch.nonzero(training_set.used_P_G[p]).flatten()
        for n in times
    ]
    order = torch.randperm(len(pairs), generator=seeded("order", seed, training_set.epoch, *sorted(samples)))
    return [pairs[i] for i in order.tolist()]


def make_batch(training_set: TrainingSet, pairs: Sequence[Pair], family: ModelFamily, encoded: ConditioningCache, config: NFTConfig) -> MicroBatch:  # fmt: skip
    """Latents, noise, times, advantages and conditioning of these pairs."""
    p, g, n = (torch.tensor(column) for column in zip(*pairs, strict=True))
    x_0, t = training_set.x_0_P_G[p, g], training_set.times_P_G_N[p, g, n]
    shape = tuple(x_0.shape[1:])
    noises = [
        training_noise(config.times, shape, config.run.seed, training_set.epoch, training_set.numbers[i], j, k)
        for i, j, k in pairs
    ]
    x_t = noisy(x_0, torch.stack(noises), t)
    conditioning = encoded.batch([training_set.prompts[i].trained for i, _, _ in pairs])
    dropped = encoded.dropped(len(pairs))
    if config.loss.dropped > 0 and dropped is not None:
        numbers = [(training_set.numbers[i], j, k) for i, j, k in pairs]
        without = without_caption(config.loss.dropped, config.run.seed, training_set.epoch, numbers)
        conditioning = replaced(conditioning, dropped, without)
    device = family.device
    return MicroBatch(
        x_0.to(device),
        x_t.to(device),
        t.to(device),
        training_set.advantages_P_G[p, g].to(device),
        conditioning,
        dropped,
        config.rollout.guidance if config.loss.guided else 1.0,
    )


def accumulate(
    batch: MicroBatch, family: ModelFamily, policy: Policy, loss: LossConfig, advantage: AdvantageConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses `[B]` with their graph, and what to log of them, each `[B]`."""

    def velocity(model: Any, guidance: float = batch.guidance) -> Tensor:
        return guided_velocity(family, model, batch.x_t_B, batch.t_B, batch.conditioning, batch.dropped, guidance)

    old = reference = None
    # Before the graph of the current policy exists, so that no adapter is switched between its two passes.
    if not policy.old_is_current:
        with policy.old() as model:
            old = velocity(model)
    wants_reference = loss.kl_weight > 0 or loss.guard_weight > 0
    towards = batch.guidance if loss.guided else loss.kl_guidance
    if wants_reference and not (policy.at_reference and towards == batch.guidance):
        with policy.reference() as model:
            reference = velocity(model, towards)
    current = velocity(policy.module)
    old = current.detach() if old is None else old
    reference = current.detach() if reference is None and wants_reference else reference
    losses = _policy_loss(batch, current, old, loss, advantage)
    logged = {"policy_loss": losses}
    if reference is not None:
        kl, ratio = velocity_kl(current, reference), norm_ratio(current, reference)
        losses = losses + loss.kl_weight * kl
        if loss.guard_weight > 0:
            losses = losses + loss.guard_weight * norm_guard(current, reference, loss.guard_margin)
        logged |= {"velocity_kl": kl, "norm_ratio": ratio}
    return losses, {"loss": losses, "old_gap": velocity_kl(current, old), **logged}


def _policy_loss(
    batch: MicroBatch, current: Tensor, old: Tensor, loss: LossConfig, advantage: AdvantageConfig
) -> Tensor:
    velocities = (current, old, batch.x_t_B, batch.x_0_B, batch.t_B)
    if loss.algorithm == "awm":
        return awm_loss(
            *velocities, batch.advantages_B, ratio_clip=loss.ratio_clip, self_normalised=loss.self_normalised
        )
    return nft_loss(
        *velocities,
        optimality(batch.advantages_B, advantage.clip),
        mix_beta=loss.mix_beta,
        clip=advantage.clip,
        self_normalised=loss.self_normalised,
    )


def gradients(
    training_set: TrainingSet,
    pairs: Sequence[Pair],
    everywhere: int,
    family: ModelFamily,
    policy: Policy,
    encoded: ConditioningCache,
    config: NFTConfig,
    accelerator: Accelerator,
    passes: int = 1,
    on_pass: Callable[[int], None] = lambda _: None,
) -> UpdateFigures:
    """Add the gradients of these pairs' mean loss; `everywhere` is how many pairs all processes have together.

    `on_pass` is told of every finished micro-batch's pairs. Gradients are exchanged once, with the last micro-batch. A process with fewer than `passes` micro-batches makes up
    for them with a weight of zero: weights that are spread over processes are computed with by all at once.
    """
    figures = UpdateFigures()
    size = config.optimiser.micro_batch
    parts = [list(pairs[i : i + size]) for i in range(0, len(pairs), size)]
    parts += [[] for _ in range(passes - len(parts))]
    for number, part in enumerate(parts):
        batch = make_batch(training_set, part or [(0, 0, 0)], family, encoded, config)
        # Distributed gradients are averaged over the processes; the loss is a mean over all pairs.
        weight = accelerator.num_processes / everywhere if part else 0.0
        with unsynced(policy.module, accelerator) if number + 1 < len(parts) else nullcontext():
            losses, logged = accumulate(batch, family, policy, config.loss, config.advantage)
            accelerator.backward(losses.sum() * weight)
        if part:
            figures.add(**logged)
            on_pass(len(part))
    return figures
