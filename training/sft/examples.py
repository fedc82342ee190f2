"""The examples of a run: which fit, and in which order this process sees them."""

from __future__ import annotations

import logging
import math
from collections.abc import Container, Iterator, Sequence
from typing import Final

import torch
from tqdm import tqdm

from rationalrewards_core.errors import ConfigError

from ..left_out import LeftOut
from .batches import epoch_batches, micro_batches
from .config import SftConfig
from .encoding import EncodedExample, Encoder
from .records import ChatFile

log = logging.getLogger("rationalrewards.training.sft")

FEWEST_STEPS: Final = 100
PASSES: Final = (2.0, 8.0)
LONGEST_INTERVAL: Final = 200
"""Steps after which a run measures and saves at the latest."""


class Examples(torch.utils.data.Dataset[EncodedExample]):
    """Records that fit, encoded when asked for."""

    def __init__(self, file: ChatFile, encoder: Encoder, max_length: int) -> None:
        self.file, self._encoder = file, encoder
        self.unreadable = LeftOut()
        """Lines that hold no example, or name a picture that cannot be read."""
        lengths = {i: self._length(i) for i in tqdm(range(len(file)), desc="lengths", disable=None)}
        self._lines = [i for i, length in lengths.items() if length is not None and length <= max_length]
        self.lengths = [length for length in lengths.values() if length is not None and length <= max_length]
        self.too_long = [length for length in lengths.values() if length is not None and length > max_length]
        """Tokens of each example that was left out."""
        if sentence := self.unreadable.sentence(len(file), "examples"):
            log.warning("%s", sentence)
        self.memory: Container[str] | None = None
        """Images whose patches are not needed again; None where nobody says so."""
        self._encoded: dict[int, EncodedExample] = {}
        """Examples that were read, without their patches."""

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: int) -> EncodedExample:
        if self.memory is None:
            return self._encoder(self.file[self._lines[index]])
        before = self._encoded.get(index)
        if before is not None and all(image in self.memory for image in before.images):
            return before
        encoded = self._encoder(self.file[self._lines[index]])
        self._encoded[index] = encoded.unseen()
        return encoded

    def _length(self, index: int) -> int | None:
        """Tokens of an example; None, counted, if it cannot be read."""
        try:
            return self._encoder.length(self.file[index])
        except ConfigError as error:
            self.unreadable.add("that cannot be read", str(error).rstrip("."))
            return None


class Order:
    """This process's micro-batches from a step on, as a DataLoader's batch sampler."""

    def __init__(self, lengths: list[int], config: SftConfig, start: int, steps: int, rank: int, world: int) -> None:
        self._lengths, self._config, self._span, self._place = lengths, config, (start, steps), (rank, world)

    def __iter__(self) -> Iterator[list[int]]:
        per_epoch, current, batches = len(self._lengths) // self._config.batch, -1, []
        for step in range(*self._span):
            epoch = step // per_epoch
            if epoch != current:
                current, batches = epoch, epoch_batches(self._lengths, self._config.batch, self._config.seed, epoch)
            yield from micro_batches(batches[step - epoch * per_epoch], self._config.micro_batch, *self._place)


def planned_steps(config: SftConfig, examples: int, too_long: Sequence[int] = (), unreadable: str = "") -> int:
    """Optimiser steps of a whole run. `too_long`: tokens of each example left out; the error says them.

    `unreadable` is what to say of examples that could not be read.
    """
    if examples < config.batch:
        raise ConfigError(" ".join(filter(None, [unreadable, _too_few(config, examples, too_long)])))
    per_epoch = examples // config.batch
    epochs = fitting_epochs(per_epoch) if config.epochs is None else config.epochs
    steps = max(1, math.floor(epochs * per_epoch))
    return min(steps, config.max_steps) if config.max_steps else steps


def fitting_epochs(per_epoch: int) -> float:
    """Passes over data of `per_epoch` steps: as many as `FEWEST_STEPS` want, within `PASSES`."""
    fewest, most = PASSES
    return min(max(fewest, FEWEST_STEPS / per_epoch), most)


def interval(every: int | None, steps: int) -> int:
    """Steps between measurements or checkpoints of a run of `steps`, where none are asked for by number."""
    return max(1, min(LONGEST_INTERVAL, steps // 4)) if every is None else every


def _too_few(config: SftConfig, examples: int, too_long: Sequence[int]) -> str:
    batch = f"less than one batch of {config.batch}"
    if not too_long:
        return f"There are {examples} examples, {batch}; lower batch (and micro_batch), or export more."
    lower = ", or lower batch" if examples else ""
    return (
        f"{len(too_long)} of {examples + len(too_long)} examples have {min(too_long):,} to {max(too_long):,} tokens, more "
        f"than max_length ({config.max_length:,}), and {examples} are left, {batch}: export again in the student's own "
        f"rubric (`--rubric miniature` for the miniature), raise max_length{lower}."
    )
