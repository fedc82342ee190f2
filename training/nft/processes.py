"""What processes share: each owns a contiguous part of an epoch's prompts, all see every reward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from .advantage import GroupRewards


def own(prompts: int, accelerator: Accelerator) -> range:
    """Numbers of this process's prompts; whole groups stay together."""
    share = prompts // accelerator.num_processes
    return range(accelerator.process_index * share, (accelerator.process_index + 1) * share)


def evaluated(requests: int, accelerator: Accelerator) -> tuple[list[int], int]:
    """Numbers of the requests that this process evaluates, and how many of them count.

    Every process has equally many, because weights that are spread over processes are computed with by all at once;
    what is too many starts again from the first, and does not count.
    """
    share = -(-requests // accelerator.num_processes)
    first = accelerator.process_index * share
    return [(first + i) % requests for i in range(share)], min(share, max(0, requests - first))


def most_passes(used_P_G: Tensor, prompts: Sequence[int], times: int, size: int, processes: int) -> int:
    """Micro-batches of `size` of the process that has most pairs of these prompts: rollouts used x `times` each."""
    share = len(used_P_G) // processes
    used = [0] * processes
    for prompt in prompts:
        used[prompt // share] += int(used_P_G[prompt].sum())
    return -(-max(used) * times // size)


def counted(reasons: Counter[str]) -> Counter[str]:
    """How often each reason occurred in all processes."""
    return sum(gather_object([reasons]), Counter())


def gathered(rewards: GroupRewards, accelerator: Accelerator) -> GroupRewards:
    """The whole epoch's rewards, in prompt order, on every process."""
    if accelerator.num_processes == 1:
        return rewards

    def gather(table: Tensor) -> Tensor:
        # Booleans travel as bytes: not every backend gathers them.
        rows: Tensor = accelerator.gather(table.to(accelerator.device).float()).cpu()
        return rows.to(table.dtype)

    return GroupRewards(
        gather(rewards.rewards_P_G),
        gather(rewards.scored_P_G),
        gather(rewards.dimensions_P_G_D),
        gather(rewards.applicable_P_G_D),
        rewards.weights_D,
    )
