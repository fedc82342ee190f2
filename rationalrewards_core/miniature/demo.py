"""The demo: the loop on held-out requests, its honest rival beside it, and the oracle's verdict on both.

Every request here is reserved (`world.is_reserved`): no model was trained on it. The loop spends up to
`max_iterations` per request. Best-of-N is given the same seconds on the same request: it needs no words
from its judge, so it scores in the faster `score` mode and may draw more images for the same time.
The first image is the same for both.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, Final

import numpy as np
from PIL import Image

from ..critique import Critique
from ..judged import Case
from ..loop.policy import RefinePolicy
from ..loop.refine_loop import LoopEnd, RefineLoop
from ..messages import UserRequest
from ..reward import reward
from ..rubric_file import generation_rubric
from ..scorer import Scorer
from .generator import MiniatureGenerator
from .oracle import oracle_critique
from .world import sample_wish, short_request

THRESHOLD: Final = 0.95
"""The demo looks for pictures that are right in every point."""
BATCH: Final = 32
"""Pictures that are drawn at once."""


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """What the demo runs."""

    prompts: int = 32
    """Held-out requests."""
    seed: int = 2024
    """Draws the requests and their first images."""
    policy: RefinePolicy = field(
        default_factory=lambda: RefinePolicy(threshold=THRESHOLD, max_iterations=4, patience=3)
    )
    """The loop's rules."""


@dataclass(frozen=True)
class DemoRun:
    """One request: the loop's end, the rival's pick, and the oracle's rewards."""

    end: LoopEnd
    oracle: tuple[float, ...]
    """Of every step of the loop, in order."""
    rival_rewards: tuple[float | None, ...]
    """The judge's reward of every image best-of-N drew; None if unscored."""
    rival_oracle: tuple[float, ...]

    @property
    def loop_curve(self) -> list[tuple[float, float]]:
        """(reward, oracle) of the best so far after 1, 2, ... images."""
        return _best_so_far([step.reward for step in self.end.state.steps], self.oracle)

    @property
    def rival_curve(self) -> list[tuple[float, float]]:
        return _best_so_far(self.rival_rewards, self.rival_oracle)


@dataclass
class Clock:
    """Seconds spent, by purpose."""

    generator: float = 0.0
    judge: float = 0.0
    judge_processor: float = 0.0
    """Of the judge's, those in which the processor worked: on a busy machine the clock says less."""
    rival_generator: float = 0.0
    rival_judge: float = 0.0


class BatchedGenerator:
    """Lets many loops share one generator: requests made in the same moment are drawn together."""

    def __init__(self, generator: MiniatureGenerator, batch: int = BATCH) -> None:
        self._generator, self._batch = generator, batch
        self._waiting: list[tuple[str, int, asyncio.Future[Image.Image]]] = []
        self._drawing = asyncio.Lock()
        self.seconds = 0.0
        self.images = 0

    async def __call__(self, request: str, seed: int) -> Image.Image:
        future: asyncio.Future[Image.Image] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, seed, future))
        await asyncio.sleep(0.01)
        async with self._drawing:
            if not future.done():
                await self._draw()
        return await future

    async def _draw(self) -> None:
        batch, self._waiting = self._waiting[: self._batch], self._waiting[self._batch :]
        started = time.perf_counter()
        try:
            pictures = await asyncio.to_thread(
                self._generator.generate_many, [request for request, _, _ in batch], [seed for _, seed, _ in batch]
            )
        except Exception as error:
            for _, _, future in batch:
                future.set_exception(error)
            raise
        self.seconds += time.perf_counter() - started
        self.images += len(batch)
        for (_, _, future), image in zip(batch, pictures, strict=True):
            future.set_result(image)


def demo_requests(options: DemoOptions) -> list[str]:
    """Held-out two-thing requests, all different."""
    rng = np.random.default_rng([options.seed, 77])
    requests: dict[str, None] = {}
    while len(requests) < options.prompts:
        requests.setdefault(short_request(sample_wish(rng, two=1.0, reserved=True)))
    return list(requests)


async def run_demo(
    scorer: Scorer, generator: MiniatureGenerator, options: DemoOptions, progress: Callable[[str, int, int], None]
) -> tuple[list[DemoRun], Clock]:
    """Run the loops, then the rival. `progress(stage, count, total)` is called as requests finish."""
    requests = demo_requests(options)
    clock = Clock()
    draw = BatchedGenerator(generator)
    ends = await _loops(scorer, draw, requests, options, progress)
    clock.generator = draw.seconds
    steps = [step for end in ends for step in end.state.steps]
    working = time.process_time()
    clock.judge = await _judge_seconds(scorer, steps_cases(ends), "critique")
    clock.judge_processor = time.process_time() - working
    rival = await _rival(scorer, generator, requests, ends, options, clock, progress)
    runs = []
    for request, end, (images, rewards) in zip(requests, ends, rival, strict=True):
        loop_oracle = tuple(oracle_reward(request, step.image) for step in end.state.steps if step.image is not None)
        runs.append(DemoRun(end, loop_oracle, rewards, tuple(oracle_reward(request, image) for image in images)))
    assert len(steps) == sum(len(run.oracle) for run in runs)
    return runs, clock


def oracle_reward(request: str, image: Image.Image) -> float:
    """The true reward of a picture, in [0, 1]."""
    return reward(oracle_critique(request, image), generation_rubric())


def summarise(runs: Sequence[DemoRun], clock: Clock) -> dict[str, Any]:
    """The figures of `summary.json`; rewards and oracle values are means over requests, in [0, 1]."""
    before = [run.loop_curve[0] for run in runs]
    after = [run.loop_curve[-1] for run in runs]
    rival = [run.rival_curve[-1] for run in runs]
    gain = [a[1] - b[1] for a, b in zip(after, before, strict=True)]
    lead = [a[1] - r[1] for a, r in zip(after, rival, strict=True)]
    outcomes = [step.outcome for run in runs for step in run.end.state.steps]
    return {
        "n_prompts": len(runs),
        "reward_before": _mean([b[0] for b in before]),
        "reward_after": _mean([a[0] for a in after]),
        "oracle_before": _mean([b[1] for b in before]),
        "oracle_after": _mean([a[1] for a in after]),
        "oracle_gain": _mean(gain),
        "ci95": bootstrap_interval(gain),
        "best_of_n_reward": _mean([r[0] for r in rival]),
        "best_of_n_oracle": _mean([r[1] for r in rival]),
        "lead_over_best_of_n": _mean(lead),
        "lead_ci95": bootstrap_interval(lead),
        "perfect_before": _mean([float(b[1] >= 0.999) for b in before]),
        "perfect_after": _mean([float(a[1] >= 0.999) for a in after]),
        "best_of_n_perfect": _mean([float(r[1] >= 0.999) for r in rival]),
        "images_generated": sum(len(run.oracle) for run in runs),
        "best_of_n_images": sum(len(run.rival_oracle) for run in runs),
        "generator_seconds": round(clock.generator, 2),
        "judge_seconds": round(clock.judge, 2),
        "judge_processor_seconds": round(clock.judge_processor, 2),
        "best_of_n_generator_seconds": round(clock.rival_generator, 2),
        "best_of_n_judge_seconds": round(clock.rival_judge, 2),
        "unscored": sum(not isinstance(outcome, Critique) for outcome in outcomes)
        + sum(value is None for run in runs for value in run.rival_rewards),
    }


def bootstrap_interval(values: Sequence[float], draws: int = 10_000) -> list[float]:
    """95 % percentile interval of the mean, by resampling requests (paired differences go in)."""
    rng = np.random.default_rng(0)
    data = np.asarray(values)
    means = data[rng.integers(len(data), size=(draws, len(data)))].mean(axis=1)
    return [round(float(v), 4) for v in np.percentile(means, (2.5, 97.5))]


def mean_curve(curves: Sequence[Sequence[tuple[float, float]]], column: int) -> list[float]:
    """Mean over requests after 1, 2, ... images; a loop that has stopped keeps its last value."""
    longest = max(len(curve) for curve in curves)
    return [_mean([curve[min(i, len(curve) - 1)][column] for curve in curves]) for i in range(longest)]


async def _loops(
    scorer: Scorer,
    draw: BatchedGenerator,
    requests: Sequence[str],
    options: DemoOptions,
    progress: Callable[[str, int, int], None],
) -> list[LoopEnd]:
    count = 0

    async def one(number: int, request: str) -> LoopEnd:
        nonlocal count
        loop = RefineLoop(scorer, draw, options.policy)
        end = await loop.run(UserRequest(request), options.seed + 1000 * number)
        count += 1
        progress("refining", count, len(requests))
        return end

    return list(await asyncio.gather(*(one(number, request) for number, request in enumerate(requests))))


def steps_cases(ends: Sequence[LoopEnd]) -> list[Case]:
    return [Case(end.state.request, step.image) for end in ends for step in end.state.steps if step.image is not None]


async def _judge_seconds(scorer: Scorer, cases: Sequence[Case], mode: str) -> float:
    """What judging `cases` costs when nothing else runs: measured anew, without the memo."""
    fresh = Scorer(scorer.backend, scorer.rubrics, scorer.settings)
    started = time.perf_counter()
    await fresh.score_many(cases, mode)  # type: ignore[arg-type]
    return time.perf_counter() - started


async def _rival(
    scorer: Scorer,
    generator: MiniatureGenerator,
    requests: Sequence[str],
    ends: Sequence[LoopEnd],
    options: DemoOptions,
    clock: Clock,
    progress: Callable[[str, int, int], None],
) -> list[tuple[list[Image.Image], tuple[float | None, ...]]]:
    """Best-of-N on the original request: as many images as the loop's seconds buy, rounded up, never fewer than its own.

    An image is priced at what it cost the loop on average, since both could be drawn in batches of any size.
    """
    counts = await _rival_counts(scorer, ends, clock)
    jobs = [(i, options.seed + 1000 * i + k) for i, n in enumerate(counts) for k in range(n)]
    started = time.perf_counter()
    pictures: list[Image.Image] = []
    for start in range(0, len(jobs), BATCH):
        part = jobs[start : start + BATCH]
        pictures += await asyncio.to_thread(
            generator.generate_many, [requests[i] for i, _ in part], [seed for _, seed in part]
        )
        progress("best of N", min(start + BATCH, len(jobs)), len(jobs))
    clock.rival_generator = time.perf_counter() - started
    started = time.perf_counter()
    cases = [Case(ends[i].state.request, image) for (i, _), image in zip(jobs, pictures, strict=True)]
    fresh = Scorer(scorer.backend, scorer.rubrics, scorer.settings)  # the loop's critiques would answer for nothing
    rewards = [outcome.reward for outcome in await fresh.judge_many(cases, "score")]
    clock.rival_judge = time.perf_counter() - started
    bounds = [0, *accumulate(counts)]
    return [(pictures[start:end], tuple(rewards[start:end])) for start, end in pairwise(bounds)]


async def _rival_counts(scorer: Scorer, ends: Sequence[LoopEnd], clock: Clock) -> list[int]:
    """How many images each request's loop would have paid for, had its judge only scored them."""
    steps = [len(end.state.steps) for end in ends]
    drawing, critique = clock.generator / sum(steps), clock.judge / sum(steps)
    probe = steps_cases(ends)[:BATCH]
    score = await _judge_seconds(scorer, probe, "score") / len(probe)
    rate = (drawing + critique) / (drawing + score)
    return [max(n, math.ceil(n * rate)) for n in steps]


def _best_so_far(rewards: Sequence[float | None], oracle: Sequence[float]) -> list[tuple[float, float]]:
    """After each image: the judge's highest reward so far, and the oracle's reward of that same image."""
    curve: list[tuple[float, float]] = []
    best = (-1.0, oracle[0])
    for value, truth in zip(rewards, oracle, strict=True):
        if value is not None and value > best[0]:
            best = (value, truth)
        curve.append((max(best[0], 0.0), best[1]))
    return curve


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 4)
