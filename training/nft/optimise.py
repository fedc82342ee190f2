"""An epoch's optimiser steps: gradients of (rollout, time) pairs, the optimiser, then old <- eta old + (1 - eta) current."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from ..pace import Pace
from ..sharding import average_gradients, whole_tensor
from .advantage import Advantages
from .policy import DECAYS, stepped
from .processes import most_passes
from .prompts import TrainingPrompt
from .timesteps import plan_times, times_per_rollout
from .trainer import NFTTrainer
from .update import TrainingSet, gradients, pairs_of, split_groups


def optimise(
    trainer: NFTTrainer, prompts: list[TrainingPrompt], numbers: range, x_0: Tensor, epoch_advantages: Advantages
) -> dict[str, float]:
    """The epoch's optimiser steps, then the old policy follows."""
    config, used_P_G = trainer.config, epoch_advantages.used_P_G
    training_set = _training_set(trainer, prompts, numbers, x_0, epoch_advantages)
    figures: dict[str, list[float]] = {}
    total = int(training_set.used_P_G.sum()) * times_per_rollout(config.times, config.rollout.steps)
    main = trainer.accelerator.is_main_process
    with Pace(f"epoch {trainer.epoch + 1}, training pairs", total, main=main, leave=False) as pace:
        for groups in split_groups(config, trainer.epoch):
            if not used_P_G[groups].any():
                continue  # every group of this step was dropped: there is nothing to learn from
            for name, value in _optimiser_step(trainer, training_set, used_P_G, groups, pace.update).items():
                figures.setdefault(name, []).append(value)
    decay = DECAYS[config.policy.old_decay](trainer.step)
    trainer.policy.follow(decay)
    means = {name: sum(values) / len(values) for name, values in figures.items()}
    return {**means, "old_decay": decay, "optimiser_steps": float(trainer.step)}


def _training_set(
    trainer: NFTTrainer, prompts: list[TrainingPrompt], numbers: range, x_0: Tensor, epoch_advantages: Advantages
) -> TrainingSet:
    """This process's rollouts, what each was worth, and the times at which it is trained."""
    config, order = trainer.config, list(numbers)
    schedule = trainer.family.times(config.rollout.steps)[:-1]
    times = plan_times(config.times, schedule, config.run.seed, trainer.epoch, order, config.rollout.group)
    mine = epoch_advantages.part(numbers)
    return TrainingSet(trainer.epoch, prompts, order, x_0, mine.values_P_G, mine.used_P_G, times)


def _optimiser_step(
    trainer: NFTTrainer,
    training_set: TrainingSet,
    used_P_G: Tensor,
    groups: list[int],
    on_pass: Callable[[int], None],
) -> dict[str, float]:
    """Learn from the used pairs of these groups; returns what to log. `used_P_G` is of all processes."""
    config, policy = trainer.config, trainer.policy
    everywhere = int(used_P_G[groups].sum()) * times_per_rollout(config.times, config.rollout.steps)
    update = gradients(
        training_set,
        pairs_of(training_set, groups, config.run.seed),
        everywhere,
        trainer.family,
        policy,
        trainer.encoded,
        config,
        trainer.accelerator,
        _passes(trainer, used_P_G, groups),
        on_pass,
    )
    if trainer.sharding is not None and config.policy.tuning == "lora":
        average_gradients(policy.parameters, trainer.accelerator)
    norm = nn.utils.clip_grad_norm_(policy.parameters, config.optimiser.max_grad_norm)
    trainer.optimiser.step()
    trainer.optimiser.zero_grad(set_to_none=True)
    stepped(policy)
    trainer.average.update(policy.parameters)
    trainer.step += 1
    return {**update.means(), "grad_norm": float(whole_tensor(norm))}


def _passes(trainer: NFTTrainer, used_P_G: Tensor, groups: list[int]) -> int:
    """Micro-batches that every process has to do: only sharded weights need equally many of each."""
    if trainer.sharding is None:
        return 1
    config = trainer.config
    times = times_per_rollout(config.times, config.rollout.steps)
    return most_passes(used_P_G, groups, times, config.optimiser.micro_batch, trainer.accelerator.num_processes)
