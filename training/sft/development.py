"""Early stopping by what matters: pair accuracy on the development split, by the core scorer, with the student in place.

The answer loss is mostly fixed phrases and keeps falling after judgement has stopped improving. Benchmarks are never
looked at during training.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch

from rationalrewards_core.backends.checkpoint import Checkpoint, CheckpointConfig
from rationalrewards_core.backends.transformers_local import TransformersLocal
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings

from ..data.labelled_pairs import LabelledPair, PairFolder, with_winner
from ..rewards.figures import Share, accuracy
from ..rewards.judges import PointwiseJudge, opinions_of
from ..rewards.opinions import Opinion
from ..rewards.student_rubrics import student_rubrics
from ..rewards.ties import PROTOCOLS
from .config import SftConfig

log = logging.getLogger("rationalrewards.training.sft")

DEV_PROTOCOL = "forced"
FEW: Final = 30
"""Development pairs below which an accuracy says little (within 0.18 at 95 %)."""


class InProcess(TransformersLocal):
    """The local engine around a model that is already here."""

    def __init__(self, checkpoint: Checkpoint, *, batch_size: int) -> None:
        super().__init__(CheckpointConfig(model="the model being trained"), batch_size=batch_size)
        self._here = checkpoint

    def load(self) -> Checkpoint:
        return self._here


class Development:
    """The development pairs, ready to be judged again and again."""

    def __init__(self, config: SftConfig) -> None:
        folder = Path(config.export)
        self._folder, self._config = PairFolder(folder), config
        self.pairs = development_pairs(self._folder, config)
        if len(self.pairs) < FEW:
            spread = 0.98 / len(self.pairs) ** 0.5
            log.warning(
                "Only %d development pairs with a winner: an accuracy is known within %.2f; more pairs would tell it better.",
                len(self.pairs), spread,
            )  # fmt: skip
        self.rubrics = student_rubrics(config.model, folder)

    def opinions(self, checkpoint: Checkpoint, pairs: Sequence[LabelledPair]) -> list[Opinion]:
        """What the student says of `pairs` as it is now. Leaves its mode and the random state as they were."""
        was_training = checkpoint.model.training
        checkpoint.model.eval()
        settings = ScorerSettings(guided=False, ask_again=0, alternatives=0, max_tokens=self._config.dev_max_tokens)
        scorer = Scorer(InProcess(checkpoint, batch_size=self._config.dev_batch), self.rubrics, settings)
        judge = PointwiseJudge(scorer, "student")

        async def work() -> list[Opinion]:
            try:
                return await opinions_of(judge, self._folder, pairs, concurrency=self._config.dev_batch)
            finally:
                await scorer.close()

        with torch.random.fork_rng(enabled=True):
            answers = asyncio.run(work())
        checkpoint.model.train(was_training)
        return answers


def development_pairs(folder: PairFolder, config: SftConfig) -> list[LabelledPair]:
    """The pairs that a run is measured on. ConfigError says what to do where there are none."""
    try:
        return with_winner(folder.pairs("dev"), f"{folder.path}, split dev")[: config.dev_pairs]
    except ConfigError as error:
        raise ConfigError(
            f"{error} To be measured, a run needs development pairs: export with a larger --dev, or say "
            "evaluate_every=0 to train without."
        ) from error


def dev_accuracy(opinions: Sequence[Opinion]) -> Share:
    """Share of decided development pairs ordered as people did; ties and failures are wrong."""
    return accuracy(opinions, PROTOCOLS[DEV_PROTOCOL])
