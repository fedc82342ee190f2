"""Rewards that are one number and no words, behind the trainer's judge: a head of ours, or a published model.

`head:FOLDER` is a Bradley-Terry head on a backbone (`python -m training.sft scalar`); `scalar:NAME` a published reward
that is installed and downloaded already (PickScore, HPSv2, ImageReward, HPSv3); `scalar:FOLDER` the small head of the
miniature world (`training.rewards.picture_head`). Such rewards have no bounds; here they are squashed into 0..1.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from rationalrewards_core.critique import Critique, Judgement, Unscored
from rationalrewards_core.judged import Case, Outcome, ScoreBatch
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.replies.parsing import Mode
from rationalrewards_core.reward import reward
from rationalrewards_core.rubric import Dimension, Rubric
from rationalrewards_core.rubric_file import generation_rubric

Rewards = Callable[[Sequence[Case]], Sequence[float]]
"""Unbounded rewards of candidates, in order; higher is better, NaN is a failure."""

USUAL: Final = {"pickscore": (21.0, 1.0), "hpsv2": (0.27, 0.02), "imagereward": (0.0, 1.0), "hpsv3": (5.0, 3.0)}
"""About where a published reward lies and how widely, so that squashing does not flatten it."""


class ScalarRewardJudge:
    """Scores 1 + 3 sigmoid((s - centre) / width), so that the reward is the sigmoid itself."""

    def __init__(self, rewards: Rewards, *, centre: float = 0.0, width: float = 1.0, batch: int = 32) -> None:
        self._rewards, self._centre, self._width, self._batch = rewards, centre, width, batch
        self._rubric = scalar_rubric()

    async def score_many(self, cases: Sequence[Case], mode: Mode = "critique") -> ScoreBatch:
        rewards: list[float] = []
        for start in range(0, len(cases), self._batch):
            rewards += await asyncio.to_thread(self._rewards, cases[start : start + self._batch])
        return ScoreBatch(tuple(self._outcome(value) for value in rewards))

    def _outcome(self, value: float) -> Outcome:
        if not math.isfinite(value):
            return Unscored(reason="not_a_number", message="The scalar reward is not a number.")
        squashed = 0.5 + 0.5 * math.tanh((value - self._centre) / (2.0 * self._width))
        judgement = Judgement(key=self._rubric.dimensions[0].key, justification="", score=1.0 + 3.0 * squashed)
        return Critique(rubric=self._rubric.name, judgements=(judgement,))

    def reward(self, critique: Critique, request: UserRequest, *, expected: bool = False) -> float:
        return reward(critique, self._rubric)

    def rubric_for(self, request: UserRequest) -> Rubric:
        return self._rubric

    async def close(self) -> None:
        return None


def scalar_rubric() -> Rubric:
    """One dimension, in place of those that a critique speaks about."""
    whole = generation_rubric()
    only = Dimension(key="overall", title="Overall", anchors=whole.dimensions[0].anchors)
    return replace(whole, name="scalar", dimensions=(only,))


def head_judge(folder: Path, batch: int) -> ScalarRewardJudge:
    """A Bradley-Terry head on its backbone. ConfigError if there is none in the folder."""
    import torch

    from .head import load_head

    head = load_head(folder)
    head.checkpoint.model.eval()

    def rewards(cases: Sequence[Case]) -> list[float]:
        with torch.inference_mode():
            return [float(r) for r in head.rewards([(case.request, case.candidate) for case in cases])]

    return ScalarRewardJudge(rewards, batch=batch)


def remote_judge(url: str, batch: int) -> ScalarRewardJudge:
    """A scalar reward behind `training.nft.bridges`, whose rewards lie in 0..1. ConfigError if nobody answers."""
    from .scalar_remote import RemoteScalar

    remote = RemoteScalar(url)

    def rewards(cases: Sequence[Case]) -> list[float]:
        return remote.rewards([(case.request, case.candidate) for case in cases])

    return ScalarRewardJudge(rewards, centre=0.5, width=0.25, batch=batch)


def published_judge(name: str, batch: int) -> ScalarRewardJudge:
    """A published reward by its name in `training.rewards.scalars`. ConfigError if it is not here."""
    from .scalars import load_scalar

    scalar = load_scalar(f"scalar:{name}", "auto")
    centre, width = USUAL[name]

    def rewards(cases: Sequence[Case]) -> list[float]:
        return [scalar(case.request, case.candidate) for case in cases]

    return ScalarRewardJudge(rewards, centre=centre, width=width, batch=batch)
