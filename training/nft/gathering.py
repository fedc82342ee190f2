"""What processes share: each owns a contiguous part of an epoch's prompts, all see every reward."""

from __future__ import annotations

from accelerate import Accelerator
from torch import Tensor

from training.nft.advantage import GroupRewards


def own(prompts: int, accelerator: Accelerator) -> range:
    """Numbers of this process's prompts; whole groups stay together."""
    share = prompts // accelerator.num_processes
    return range(accelerator.process_index * share, (accelerator.process_index + 1) * share)


def gathered(rewards: GroupRewards, accelerator: Accelerator) -> GroupRewards:
    """The whole epoch's rewards, in prompt order, on every process."""
    if accelerator.num_processes == 1:
        return rewards

    def gather(table: Tensor) -> Tensor:
        # Booleans travel as bytes: not every backend gathers them.
        found: Tensor = accelerator.gather(table.to(accelerator.device).float()).cpu()
        return found.to(table.dtype)

    return GroupRewards(
        gather(rewards.rewards_P_G),
        gather(rewards.scored_P_G),
        gather(rewards.dimensions_P_G_D),
        gather(rewards.applicable_P_G_D),
        rewards.weights_D,
    )
