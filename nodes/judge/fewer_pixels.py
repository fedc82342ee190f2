"""Judging a batch, and judging again at fewer pixels what did not fit into memory."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image

from ...rationalrewards_core.critique import Unscored
from ...rationalrewards_core.images import within_pixels
from ...rationalrewards_core.judged import Case, Outcome
from ...rationalrewards_core.messages import UserRequest
from ...rationalrewards_core.replies.parsing import Mode
from ...rationalrewards_core.scorer import Scorer
from .engines import Engine
from .progress import NodeProgress

log = logging.getLogger("rationalrewards.nodes")

SMALLER: Final = (0.5, 0.25)
"""Shares of the pixels that are tried, one after the other. (The core has tried smaller batches before.)"""


@dataclass(frozen=True)
class Judging:
    """One batch, under one rubric."""

    scorer: Scorer
    engine: Engine
    cases: Sequence[Case]
    mode: Mode
    progress: NodeProgress

    async def outcomes(self) -> tuple[list[Outcome], list[str]]:
        """In the order of the cases, and what the user should know about how they came about."""
        outcomes, notes = await self._ask(range(len(self.cases)), 1.0), []
        if (starved := out_of_memory(outcomes)) and self.engine.make_room():
            await self._again(outcomes, starved, 1.0)
        for share in SMALLER:
            if starved := out_of_memory(outcomes):
                many = f"{len(starved)} of {len(self.cases)} images"
                notes.append(f"Out of memory: {many} were judged at {share:.0%} of their pixels.")
                log.warning(notes[-1])
                await self._again(outcomes, starved, share)
        return outcomes, notes

    async def _again(self, outcomes: list[Outcome], starved: Sequence[int], share: float) -> None:
        if self.scorer.compares(self.cases[0].request):
            starved = range(len(self.cases))  # they are scored by each other, so all at one size
        self.progress.restart(len(starved))
        for index, outcome in zip(starved, await self._ask(starved, share), strict=True):
            outcomes[index] = outcome

    async def _ask(self, indices: Sequence[int], share: float) -> list[Outcome]:
        cases = [self.cases[index] if share == 1.0 else smaller(self.cases[index], share) for index in indices]
        batch = await self.scorer.score_many(cases, self.mode, lambda index, outcome: self.progress.image())
        return list(batch.outcomes)


def out_of_memory(outcomes: Sequence[Outcome]) -> list[int]:
    """Indices of the pictures that did not fit."""
    return [i for i, o in enumerate(outcomes) if isinstance(o, Unscored) and o.reason == "out_of_memory"]


def smaller(case: Case, share: float) -> Case:
    """The case with `share` of the pixels of all its images."""
    sources = tuple(shrunk(source, share) for source in case.request.sources)
    return Case(UserRequest(case.request.text, sources), shrunk(case.candidate, share))


def shrunk(picture: Image.Image, share: float) -> Image.Image:
    """The picture with `share` of its pixels."""
    return within_pixels(picture, max(1, int(picture.width * picture.height * share)))
