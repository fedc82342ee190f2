"""Early stopping by what matters: pair accuracy on the development split, by the core scorer, with the student in place.

The answer loss is mostly fixed phrases and keeps falling after judgement has stopped improving. Benchmarks are never
looked at during training.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import torch

from rationalrewards_core.backends.checkpoint import Checkpoint, CheckpointConfig
from rationalrewards_core.backends.transformers_local import TransformersLocal
from rationalrewards_core.scorer import Scorer, ScorerSettings
from training.evaluate.figures import Share, accuracy
from training.evaluate.judges import PointwiseJudge, opinions_of
from training.evaluate.opinions import Opinion
from training.evaluate.pairs import LabelledPair, PairFolder
from training.evaluate.ties import PROTOCOLS
from training.sft.artefacts import student_rubrics
from training.sft.config import SftConfig

DEV_PROTOCOL = "forced"


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
        self.pairs = self._folder.pairs("dev", config.dev_pairs)
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
            found = asyncio.run(work())
        checkpoint.model.train(was_training)
        return found


def dev_accuracy(opinions: Sequence[Opinion]) -> Share:
    """Share of decided development pairs ordered as people did; ties and failures are wrong."""
    return accuracy(opinions, PROTOCOLS[DEV_PROTOCOL])
