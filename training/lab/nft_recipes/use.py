"""How true a generator's pictures are as it is used: one image, best-of-N, and the refine loop, by the oracle."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rationalrewards_core.engines import EngineOptions, make_scorer
from rationalrewards_core.judged import Case
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.miniature.demo import oracle_reward
from rationalrewards_core.miniature.generator import MiniatureGenerator
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.storage import replace_file

from .requests import FIRST_IMAGE, HELD_OUT_SEED, SEEDS_EACH, development_requests, held_out_requests, refine

BATCH = 32
PART = 64
"""Held-out requests that are measured and kept together."""


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


def held_out_use(folder: Path, load: Callable[[], MiniatureGenerator], count: int, images: int) -> Use:
    """All ways of use on the held-out requests, judged by the shipped scorer.

    Measured and kept in parts of `PART` requests: a command that was killed loses one of them at most, and one for more
    requests measures only those that are new.
    """
    requests = held_out_requests(count)
    models = cache(lambda: (load(), make_scorer("miniature", EngineOptions(precision="fp32"))))
    rows = in_parts(folder, count, lambda part: _part_of_use(models, requests, part, images))
    best_of_n, refine_loop = (np.concatenate([row[way] for row in rows]) for way in ("best_of_n", "refine_loop"))
    return Use(best_of_n, refine_loop)


def in_parts(folder: Path, count: int, measure: Callable[[range], dict[str, object]]) -> list[dict[str, Any]]:
    """What `measure` gives for each `PART` of so many requests, kept in `folder`."""
    parts = [range(begin, min(begin + PART, count)) for begin in range(0, count, PART)]
    return [_once(folder / f"{part.start:04d}-{part.stop:04d}.json", partial(measure, part)) for part in parts]


def first_seed(part: range) -> int:
    """Of a part's first picture. Every request has seeds of its own, wherever a part begins."""
    return HELD_OUT_SEED + SEEDS_EACH * part.start


def _part_of_use(
    models: Callable[[], tuple[MiniatureGenerator, Scorer]], requests: Sequence[str], part: range, images: int
) -> dict[str, object]:
    """Of the requests in `part`: truth after each image of best-of-N and of the loop, `[requests images]` each."""
    (generator, scorer), texts, seed = models(), requests[part.start : part.stop], first_seed(part)
    pictures, truth = drawn(generator, texts, seed, images)
    if images == 1:  # nothing to choose from, nothing to refine
        return {"best_of_n": truth.tolist(), "refine_loop": truth.tolist()}
    return {
        "best_of_n": _best_of_n(scorer, texts, pictures, truth),
        "refine_loop": loop_truths(scorer, generator, texts, images, seed),
    }


def _best_of_n(
    scorer: Scorer, requests: Sequence[str], pictures: Sequence[Sequence[Image.Image]], truth: np.ndarray
) -> list[list[float]]:
    cases = [Case(UserRequest(text), picture) for text, row in zip(requests, pictures, strict=True) for picture in row]
    rewards = [answer.reward for answer in asyncio.run(scorer.judge_many(cases, "score"))]
    images = truth.shape[1]
    rows = (rewards[start : start + images] for start in range(0, len(rewards), images))
    return [best_so_far(row, true, images) for row, true in zip(rows, truth.tolist(), strict=True)]


def loop_truths(
    scorer: Scorer, generator: MiniatureGenerator, requests: Sequence[str], images: int, seed: int
) -> list[list[float]]:
    """Truth of the best picture by the judge after each image of a refine loop, `[requests images]`."""
    return [
        best_so_far(
            [step.reward for step in end.state.steps],
            [oracle_reward(text, step.image) for step in end.state.steps if step.image is not None],
            images,
        )
        for text, end in zip(requests, refine(scorer, generator, requests, images, seed), strict=True)
    ]


def drawn(
    generator: MiniatureGenerator, requests: Sequence[str], seed: int, each: int
) -> tuple[list[list[Image.Image]], np.ndarray]:
    """So many pictures of every request, from seeds of its own, and their truth by the oracle, `[requests each]`."""
    jobs = [(i, seed + SEEDS_EACH * i + k) for i in range(len(requests)) for k in range(each)]
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
