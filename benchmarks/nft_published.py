"""The published loop, plainly: sample everything, judge everything, then three passes per pair (2509.16117).

Its parts that are no part of the comparison are ours: the sampler, the seeds, the order of the pairs, the optimiser.
The transformer is called as its pipeline calls it, and the reference pass is made whatever the KL weight is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rationalrewards_core.judged import Case
from training.nft.advantage import advantages
from training.nft.config import NFTConfig
from training.nft.families.base import ModelFamily
from training.nft.policy import DECAYS, LoraPolicy
from training.nft.rewards import group_rewards
from training.nft.rollout import ConditioningCache, sample_groups
from training.nft.timesteps import plan_times
from training.nft.trainer import NFTTrainer
from training.nft.update import MicroBatch, Pair, TrainingSet, make_batch, pairs_of, split_groups


def published_step(
    training_set: TrainingSet,
    pairs: Sequence[Pair],
    family: ModelFamily,
    policy: LoraPolicy,
    encoded: ConditioningCache,
    config: NFTConfig,
) -> None:
    """Three passes per pair, the loss as the paper's code has it, gradients accumulated over micro-batches."""
    size = config.optimiser.micro_batch
    for begin in range(0, len(pairs), size):
        batch = make_batch(training_set, pairs[begin : begin + size], family, encoded, config)
        with policy.old() as model:
            old = velocity(model, batch, config)
        with policy.reference() as model:
            reference = velocity(model, batch, config)
        losses = loss(velocity(policy.module, batch, config), old, reference, batch, config)
        (losses.sum() / len(pairs)).backward()


def velocity(model: Any, batch: MicroBatch, config: NFTConfig) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=config.model.precision == "bf16"):
        predicted: Tensor = model(
            hidden_states=batch.x_t_B,
            timestep=1000.0 * batch.t_B,
            encoder_hidden_states=batch.conditioning["tokens"],
            pooled_projections=batch.conditioning["pooled"],
            return_dict=False,
        )[0]
    return predicted.float()


def loss(current: Tensor, old: Tensor, reference: Tensor, batch: MicroBatch, config: NFTConfig) -> Tensor:
    beta, clip = config.loss.mix_beta, config.advantage.clip
    t = batch.t_B.reshape(-1, 1, 1, 1)
    r = (batch.advantages_B.clamp(-clip, clip) / clip / 2.0 + 0.5).clamp(0.0, 1.0)
    losses = []
    for v in (beta * current + (1 - beta) * old, (1 + beta) * old - beta * current):
        guess = batch.x_t_B - t * v
        with torch.no_grad():
            weight = (guess.double() - batch.x_0_B.double()).abs().mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-5)
        losses.append(((guess - batch.x_0_B) ** 2 / weight).mean(dim=(1, 2, 3)))
    policy_loss = (r * losses[0] / beta + (1 - r) * losses[1] / beta) * clip
    return policy_loss + config.loss.kl_weight * ((current - reference) ** 2).mean(dim=(1, 2, 3))


def published_epoch(trainer: NFTTrainer) -> Tensor:
    """One epoch in one process; returns its rewards `[P G]`."""
    config, policy, group = trainer.config, trainer.policy, trainer.config.rollout.group
    assert isinstance(policy, LoraPolicy)
    prompts = trainer.prompts.draw(trainer.epoch, config.rollout.prompts)
    numbers = range(len(prompts))
    trainer.encoded.prepare([prompt.request for prompt in prompts])
    seeds = [(config.run.seed, trainer.epoch, number) for number in numbers]
    with policy.old() as model:
        chunks = list(sample_groups(trainer.family, model, trainer.encoded, prompts, seeds, config.rollout, group))
    cases = [Case(request, image) for c in chunks for request, image in zip(c.requests, c.images, strict=True)]
    outcomes = trainer.queue.submit(cases).result().outcomes
    rewards = group_rewards(outcomes, [prompt.request for prompt in prompts], group, trainer.queue.judge)
    epoch_advantages = advantages(rewards, config.advantage)
    x_0 = torch.cat([chunk.x_0_B for chunk in chunks])
    schedule = trainer.family.times(config.rollout.steps)[:-1]
    times = plan_times(config.times, schedule, config.run.seed, trainer.epoch, list(numbers), group)
    training_set = TrainingSet(
        trainer.epoch,
        prompts,
        list(numbers),
        x_0.reshape(len(prompts), group, *x_0.shape[1:]),
        epoch_advantages.values_P_G,
        epoch_advantages.used_P_G,
        times,
    )
    for groups in split_groups(config, trainer.epoch):
        if pairs := pairs_of(training_set, groups, config.run.seed):
            published_step(training_set, pairs, trainer.family, policy, trainer.encoded, config)
            nn.utils.clip_grad_norm_(policy.parameters, config.optimiser.max_grad_norm)
            trainer.optimiser.step()
            trainer.optimiser.zero_grad(set_to_none=True)
            trainer.step += 1
    policy.follow(DECAYS[config.policy.old_decay](trainer.step))
    trainer.epoch += 1
    return rewards.rewards_P_G
