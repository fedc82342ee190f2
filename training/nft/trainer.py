"""The parts of a run, loaded and wired: generator, three policies, optimiser, prompts and judges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from rationalrewards_core.errors import ConfigError

from ..sharding import Sharding, check_launch, launched_on_cpu, wanted_sharding
from .config import NFTConfig, OptimiserConfig
from .families import MODULES, family_class
from .families.base import ModelFamily
from .policy import Average, FullPolicy, LoraPolicy, make_policy
from .preflight import check_judge, check_prompts
from .prompts import PromptSource, make_prompts, training_prompts
from .rewards import CaseScorer, RewardQueue, make_judge
from .rollout import ConditioningCache


@dataclass
class NFTTrainer:
    """The parts of a run, and how far it is."""

    config: NFTConfig
    accelerator: Accelerator
    sharding: Sharding | None
    """How the transformer is spread over the processes; None where each holds all of it."""
    family: ModelFamily
    policy: LoraPolicy | FullPolicy
    average: Average
    optimiser: torch.optim.Optimizer
    encoded: ConditioningCache
    prompts: PromptSource
    held_out: PromptSource | None
    queue: RewardQueue
    held_out_queue: RewardQueue
    epoch: int = 0
    step: int = 0

    def close(self) -> None:
        self.queue.close()
        if self.held_out_queue is not self.queue:
            self.held_out_queue.close()


def make_trainer(
    config: NFTConfig, judge: CaseScorer | None = None, held_out_judge: CaseScorer | None = None
) -> NFTTrainer:
    """Load and wire everything; judges may be given, else the configuration names them."""
    config = config.resolved()
    accelerator = Accelerator(cpu=launched_on_cpu())
    check_launch(accelerator)
    sharding = wanted_sharding(accelerator)
    if sharding is not None:
        check_shardable(config)
    check_guidance(config)
    if config.rollout.prompts % accelerator.num_processes:
        raise ConfigError(
            f"rollout.prompts ({config.rollout.prompts}) must be a multiple of the {accelerator.num_processes} processes."
        )
    prompts = training_prompts(config.prompts, config.run.seed)
    held_out = config.prompts.held_out and make_prompts(
        config.prompts.held_out, config.prompts, config.run.seed, held_out=True
    )
    queues = _queues(config, judge, held_out_judge)
    try:
        # What can be found out before minutes of loading is found out now.
        example = check_prompts(config, prompts, held_out or None)
        if judge is None:
            check_judge(config.rewards.judge, "rewards.judge", queues[0], example)
        if held_out_judge is None and queues[1] is not queues[0]:
            check_judge(config.rewards.held_out_judge, "rewards.held_out_judge", queues[1], example)
        return _loaded(config, accelerator, sharding, prompts, held_out or None, queues)
    except BaseException:
        for queue in dict.fromkeys(queues):
            queue.close()
        raise


def _queues(
    config: NFTConfig, judge: CaseScorer | None, held_out_judge: CaseScorer | None
) -> tuple[RewardQueue, RewardQueue]:
    """The queue of the judge and that of the held-out one, which may be the same."""
    queue = RewardQueue(judge or make_judge(config.rewards.judge, config.rewards), config.rewards.mode)
    other = config.rewards.held_out_judge
    if held_out_judge is None and not other:
        return queue, queue
    return queue, RewardQueue(held_out_judge or make_judge(other, config.rewards), "score")


def _loaded(
    config: NFTConfig,
    accelerator: Accelerator,
    sharding: Sharding | None,
    prompts: PromptSource,
    held_out: PromptSource | None,
    queues: tuple[RewardQueue, RewardQueue],
) -> NFTTrainer:
    """The generator, its policies and optimiser, on their devices."""
    family = family_class(config.model.family).load(config.model)
    family.freeze()
    if sharding is None:
        place(family, accelerator.device)
    if config.policy.tuning == "full" and family.dtype != torch.float32:
        raise ConfigError("policy.tuning 'full' trains fp32 weights: set model.precision to 'fp32'.")
    policy = make_policy(family.transformer, config.policy, family.lora_targets, config.run.seed)
    if config.model.gradient_checkpointing:
        family.transformer.enable_gradient_checkpointing()
    if config.model.compile:
        family.compile()
    if sharding is not None:
        policy.shard(sharding)  # from the CPU: no device ever holds the whole transformer
        place(family, accelerator.device)
    elif accelerator.num_processes > 1:
        policy.module = accelerator.prepare(policy.module)
    return NFTTrainer(
        config,
        accelerator,
        sharding,
        family,
        policy,
        Average(policy.parameters, config.policy.ema),
        make_optimiser(policy.parameters, config.optimiser),
        ConditioningCache(family, drops=config.drops_captions),
        prompts,
        held_out,
        *queues,
    )


def check_shardable(config: NFTConfig) -> None:
    """ConfigError names what cannot be done with sharded weights."""
    if config.model.base == "nf4":
        raise ConfigError("An NF4 base cannot be sharded by FSDP2: launch it with DDP, or set model.base to 'full'.")
    if config.model.compile:
        raise ConfigError("model.compile was not tried on weights sharded by FSDP2: set it to false.")
    if config.rewards.time_share:
        raise ConfigError("rewards.time_share cannot move weights sharded by FSDP2: let a server judge.")
    if config.policy.tuning == "full" and config.optimiser.kind == "adamw8bit":
        raise ConfigError("optimiser.kind 'adamw8bit' cannot train weights sharded by FSDP2: use 'adamw'.")


def check_guidance(config: NFTConfig) -> None:
    """ConfigError where a family's pipeline does not guide by the plain formula."""
    if config.drops_captions and not family_class(config.model.family).guides:
        names = ", ".join(name for name in MODULES if family_class(name).guides)
        raise ConfigError(
            f"rollout.guidance, loss.kl_guidance and loss.dropped need a family that guides with two passes ({names}), "
            f"not {config.model.family}: leave them at 1, 1 and 0."
        )


def place(family: ModelFamily, device: torch.device) -> None:
    """The transformer on the device; with `offload`, the other parts wait on the CPU."""
    family.device = device
    family.to(device, parts=("transformer",) if family.config.offload else tuple(family.pipeline.components))


def make_optimiser(parameters: list[nn.Parameter], config: OptimiserConfig) -> torch.optim.Optimizer:
    kind: Any = torch.optim.AdamW
    if config.kind == "adamw8bit":
        import bitsandbytes

        kind = bitsandbytes.optim.AdamW8bit
    optimiser: torch.optim.Optimizer = kind(
        parameters, lr=config.lr, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay
    )
    return optimiser
