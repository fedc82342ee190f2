"""How true a generator's pictures are as it is used: one image, best-of-N, and the refine loop, by the oracle."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rationalrewards_core.critique import Critique
from rationalrewards_core.engines import make_scorer
from rationalrewards_core.judged import Case
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.miniature.demo import oracle_reward
from rationalrewards_core.miniature.generator import MiniatureGenerator
from rationalrewards_core.storage import replace_file

from .requests import FIRST_IMAGE, HELD_OUT_SEED, development_requests, held_out_requests, refine

BATCH = 32


@dataclass(frozen=True)
class Use:
    """Truth of the best picture by the judge after 1, 2, ... images, `[requests images]`."""

    best_of_n: np.ndarray
    refine_loop: np.ndarray
    """A loop that has ended keeps its last value."""


def development_truth(file: Path, load: Callable[[], MiniatureGenerator], count: int) -> np.ndarray:
    """Truth of one picture of every development request, `[requests]`; measured once."""

    def measure() -> dict[str, object]:
        requests = development_requests(count)
        return {"truth": drawn(load(), requests, FIRST_IMAGE, 1)[1].tolist()}

    return np.array(_once(file, measure)["truth"])[:, 0]


def held_out_use(file: Path, load: Callable[[], MiniatureGenerator], count: int, images: int) -> Use:
    """All ways of use on the held-out requests, judged by the shipped scorer; measured once."""

    def measure() -> dict[str, object]:
        generator, scorer, requests = load(), make_scorer("miniature"), held_out_requests(count)
        ends = refine(scorer, generator, requests, images, HELD_OUT_SEED)
        loops = [
            best_so_far(
                [step.reward for step in end.state.steps],
                [oracle_reward(text, step.image) for step in end.state.steps if step.image is not None],
                images,
            )
            for text, end in zip(requests, ends, strict=True)
        ]
        pictures, truth = drawn(generator, requests, HELD_OUT_SEED, images)
        cases = [
            Case(UserRequest(text), picture) for text, row in zip(requests, pictures, strict=True) for picture in row
        ]
        outcomes = asyncio.run(scorer.score_many(cases, "score")).outcomes
        rewards = np.array(
            [
                scorer.reward(o, c.request) if isinstance(o, Critique) else -1.0
                for o, c in zip(outcomes, cases, strict=True)
            ]
        ).reshape(truth.shape)
        best = [best_so_far(row, true, images) for row, true in zip(rewards.tolist(), truth.tolist(), strict=True)]
        return {"best_of_n": best, "refine_loop": loops}

    rows = _once(file, measure)
    return Use(np.array(rows["best_of_n"]), np.array(rows["refine_loop"]))


def drawn(
    generator: MiniatureGenerator, requests: Sequence[str], seed: int, each: int
) -> tuple[list[list[Image.Image]], np.ndarray]:
    """So many pictures of every request, from seeds of its own, and their truth by the oracle, `[requests each]`."""
    jobs = [(i, seed + 1000 * i + k) for i in range(len(requests)) for k in range(each)]
    pictures: list[Image.Image] = []
    for begin in range(0, len(jobs), BATCH):
        part = jobs[begin : begin + BATCH]
        pictures += generator.generate_many([requests[i] for i, _ in part], [number for _, number in part])
    truth = [oracle_reward(requests[i], picture) for (i, _), picture in zip(jobs, pictures, strict=True)]
    rows = [pictures[i * each : (i + 1) * each] for i in range(len(requests))]
    return rows, np.array(truth).reshape(len(requests), each)


def best_so_far(rewards: Sequence[float | None], truth: Sequence[float], images: int) -> list[float]:
    """After each of so many images: the truth of the picture with the judge's highest reward; the first of equals.

    Unscored pictures are never chosen over a scored one. Where there are fewer pictures, the last value stays.
    """
    maxima: list[float] = []
    highest, best = -1.0, truth[0]
    for reward, true in zip(rewards, truth, strict=True):
        if reward is not None and reward > highest:
            highest, best = reward, true
        maxima.append(best)
    return (maxima + [best] * images)[:images]


def _once(file: Path, measure: Callable[[], dict[str, object]]) -> dict[str, Any]:
    """What `measure` gives, kept in `file`: a second command reads it."""
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, [json.dumps(measure()).encode()])
    table: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return table
