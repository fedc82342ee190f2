"""The order of the examples: a pure function of seed and epoch, so that any step can be found again.

Examples of similar length share a batch (little padding, and processes that wait little for each other); which
batches, and in what order they come, is random.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rationalrewards_core.errors import ConfigError

CHUNK = 32
"""Batches whose examples are sorted by length together."""


def epoch_batches(lengths: Sequence[int], batch: int, seed: int, epoch: int) -> list[list[int]]:
    """Full batches of example indices for one epoch, longest example first inside a batch.

    The up to batch - 1 examples left over are others in every epoch.
    """
    if len(lengths) < batch:
        raise ConfigError(f"There are {len(lengths)} examples, less than one batch of {batch}; lower batch.")
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))[: len(lengths) // batch * batch]
    batches: list[list[int]] = []
    for start in range(0, len(order), batch * CHUNK):
        chunk = sorted(order[start : start + batch * CHUNK].tolist(), key=lambda i: -lengths[i])
        batches += [chunk[i : i + batch] for i in range(0, len(chunk), batch)]
    return [batches[i] for i in rng.permutation(len(batches))]


def batch_at(lengths: Sequence[int], batch: int, seed: int, step: int) -> list[int]:
    """The examples of optimiser step `step` (0-based)."""
    per_epoch = len(lengths) // batch
    epoch = step // per_epoch if per_epoch else 0
    return epoch_batches(lengths, batch, seed, epoch)[step - epoch * per_epoch]


def micro_batches(examples: Sequence[int], size: int, rank: int, world: int) -> list[list[int]]:
    """This process's part of a batch. Neighbours in length go to different processes at the same time."""
    parts = [list(examples[i : i + size]) for i in range(0, len(examples), size)]
    if len(parts) % world:
        raise ConfigError(
            f"A batch of {len(examples)} in micro-batches of {size} cannot be shared by {world} processes; "
            "choose batch as a multiple of micro_batch times the number of processes."
        )
    return parts[rank::world]
