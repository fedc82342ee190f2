"""What a request's pictures come to under each policy: measured once per request, for every budget at once.

A loop's moves depend on what came before and not on its budget, so a loop of 16 images holds those of 2, 4 and 8. All
policies share their pictures: the same words and seed are drawn and judged once.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image

from rationalrewards_core.critique import Critique
from rationalrewards_core.judged import Case
from rationalrewards_core.loop.policy import RefinePolicy
from rationalrewards_core.loop.refine_loop import RefineLoop
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.miniature.demo import THRESHOLD, BatchedGenerator, oracle_reward
from rationalrewards_core.miniature.generator import MiniatureGenerator
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.storage import replace_file

BUDGETS: Final = (2, 4, 8, 16)
"""Images that may be drawn for one request."""
FIRSTS: Final = (1, 2, 4, 8)
"""Images from the user's own words before refining begins: 1 is the loop alone, more are mixtures."""
TOGETHER: Final = 8
"""Requests that are measured, and kept, at once."""


@dataclass(frozen=True)
class Trail:
    """One policy on one request, image by image."""

    rewards: list[float | None]
    """By the judge; None for unscored."""
    truth: list[float]
    """By the oracle."""


@dataclass(frozen=True)
class Prices:
    """Processor seconds of an image on this machine, in batches of 32."""

    image: float
    critique: float
    score: float

    @property
    def rate(self) -> float:
        """Images of best-of-N for the seconds of one image of a loop."""
        return (self.image + self.critique) / (self.image + self.score)


class RememberedPictures:
    """A generator that draws the same words and seed once."""

    def __init__(self, generator: MiniatureGenerator) -> None:
        self._draw = BatchedGenerator(generator)
        self._tasks: dict[tuple[str, int], asyncio.Task[Image.Image]] = {}

    async def __call__(self, request: str, seed: int) -> Image.Image:
        if (request, seed) not in self._tasks:
            self._tasks[request, seed] = asyncio.ensure_future(self._draw(request, seed))
        return await self._tasks[request, seed]


def trails(
    folder: Path, requests: Sequence[str], seed: int, most: int, scorer: Scorer, generator: MiniatureGenerator
) -> list[dict[str, Trail]]:
    """Policy -> trail of every request, `best_of_n` and `first_1` ..., on a budget of `most` images.

    What is in the folder is read.
    """
    rows: list[dict[str, Trail]] = []
    for begin in range(0, len(requests), TOGETHER):
        file = folder / f"{begin:04d}.json"
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            numbers = range(begin, min(begin + TOGETHER, len(requests)))
            trails_of = asyncio.run(_measured(numbers, requests, seed, most, scorer, generator))
            tables = [{name: asdict(trail) for name, trail in row.items()} for row in trails_of]
            replace_file(file, [json.dumps(tables).encode()])
            print(file, flush=True)
        part: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
        rows += [{name: Trail(**trail) for name, trail in row.items()} for row in part]
    return rows


async def _measured(
    numbers: range, requests: Sequence[str], seed: int, most: int, scorer: Scorer, generator: MiniatureGenerator
) -> list[dict[str, Trail]]:
    draw = RememberedPictures(generator)
    return list(
        await asyncio.gather(*(_every_policy(requests[i], seed + 1000 * i, most, scorer, draw) for i in numbers))
    )


async def _every_policy(text: str, seed: int, most: int, scorer: Scorer, draw: RememberedPictures) -> dict[str, Trail]:
    firsts = [first for first in FIRSTS if first < most]
    policies = {f"first_{first}": await _loop(text, seed, first, most, scorer, draw) for first in firsts}
    # Whatever the loops have judged is remembered, so best-of-N comes last: its scores are those of the same critiques.
    policies["best_of_n"] = await _best_of_n(text, seed, most, scorer, draw)
    return policies


async def _loop(text: str, seed: int, first: int, most: int, scorer: Scorer, draw: RememberedPictures) -> Trail:
    policy = RefinePolicy(threshold=THRESHOLD, max_iterations=most, patience=most, first=first)
    steps = (await RefineLoop(scorer, draw, policy).run(UserRequest(text), seed)).state.steps
    truth = [oracle_reward(text, step.image) for step in steps if step.image is not None]
    return Trail([step.reward for step in steps], truth)


async def _best_of_n(text: str, seed: int, most: int, scorer: Scorer, draw: RememberedPictures) -> Trail:
    """Of half as many images again as a loop has: it needs no words from its judge and so has seconds left."""
    pictures = list(await asyncio.gather(*(draw(text, seed + k) for k in range(most + most // 2))))
    request = UserRequest(text)
    outcomes = (await scorer.score_many([Case(request, picture) for picture in pictures], "score")).outcomes
    rewards = [scorer.reward(o, request) if isinstance(o, Critique) else None for o in outcomes]
    return Trail(rewards, [oracle_reward(text, picture) for picture in pictures])


def prices(file: Path, requests: Sequence[str], scorer: Scorer, generator: MiniatureGenerator) -> Prices:
    """Measured once, on one picture of each request; processor seconds, since a busy machine's clock says little.

    The judge is loaded and warm by then.
    """
    if not file.is_file():
        generator.generate_many(
            requests, range(len(requests))
        )  # the first pass of each model pays for more than itself
        started = time.process_time()
        pictures = generator.generate_many(requests, range(len(requests)))
        image = time.process_time() - started
        cases = [Case(UserRequest(text), picture) for text, picture in zip(requests, pictures, strict=True)]
        _judge_seconds(scorer, [Case(UserRequest(requests[0]), pictures[-1])], "critique")
        # Half of the pictures each: a judge that has just written of a picture drafts its next reply from that.
        critique, score = _judge_seconds(scorer, cases[::2], "critique"), _judge_seconds(scorer, cases[1::2], "score")
        measured = Prices(round(image / len(cases), 5), round(critique, 5), round(score, 5))
        replace_file(file, [json.dumps(asdict(measured)).encode()])
    return Prices(**json.loads(file.read_text(encoding="utf-8")))


def _judge_seconds(scorer: Scorer, cases: Sequence[Case], mode: str) -> float:
    """Per case; nothing is remembered."""
    fresh = Scorer(scorer.backend, scorer.rubrics, scorer.settings)
    started = time.process_time()
    asyncio.run(fresh.score_many(cases, mode))  # type: ignore[arg-type]
    return (time.process_time() - started) / len(cases)
