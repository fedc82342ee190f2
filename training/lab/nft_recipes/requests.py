"""What the comparison asks for: requests to choose by, requests for the last table, refinements to train on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rationalrewards_core.engines import make_scorer
from rationalrewards_core.loop.policy import RefinePolicy
from rationalrewards_core.loop.refine_loop import LoopEnd, RefineLoop
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.miniature.demo import THRESHOLD, BatchedGenerator, DemoOptions, demo_requests
from rationalrewards_core.miniature.generator import MiniatureGenerator
from rationalrewards_core.miniature.world import sample_wish, short_request
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.storage import replace_file

DEVELOPMENT_SEED, TRAINING_SEED = 77, 78
FIRST_IMAGE = 500_000
"""Seed of the first picture of development requests."""
HELD_OUT_SEED = 2024
"""Of the held-out requests' first pictures, as in the demo."""
SEEDS_EACH = 1000
"""So far apart are the seeds of one request and the next."""
ASIDE = 1024
"""So many of the demo's requests are never used to choose by."""


def held_out_requests(count: int) -> list[str]:
    return demo_requests(DemoOptions(prompts=count))


def development_requests(count: int) -> list[str]:
    """Reserved two-thing requests, all different; none of them is held out."""
    rng, aside = np.random.default_rng(DEVELOPMENT_SEED), set(held_out_requests(ASIDE))
    requests: dict[str, None] = {}
    while len(requests) < count:
        text = short_request(sample_wish(rng, two=1.0, reserved=True))
        if text not in aside:
            requests.setdefault(text)
    return list(requests)


def training_requests(count: int, two: float = 0.5) -> list[str]:
    """Requests as training draws them, all different."""
    rng = np.random.default_rng(TRAINING_SEED)
    requests: dict[str, None] = {}
    while len(requests) < count:
        requests.setdefault(short_request(sample_wish(rng, two=two)))
    return list(requests)


def refine(
    scorer: Scorer, generator: MiniatureGenerator, requests: Sequence[str], images: int, seed: int
) -> list[LoopEnd]:
    """The refine loop on every request, with at most so many images each; requests are drawn together."""
    policy = RefinePolicy(threshold=THRESHOLD, max_iterations=images, patience=max(1, images - 1))
    draw = BatchedGenerator(generator)

    async def every() -> list[LoopEnd]:
        loops = [
            RefineLoop(scorer, draw, policy).run(UserRequest(text), seed + SEEDS_EACH * i)
            for i, text in enumerate(requests)
        ]
        return list(await asyncio.gather(*loops))

    return asyncio.run(every())


def write_refinements(file: Path, generator: MiniatureGenerator, count: int) -> Path:
    """Training requests whose loop accepted a refinement, as a prompt file of the trainer's; made once."""
    if not file.is_file():
        ends = refine(make_scorer("miniature"), generator, training_requests(count), 4, 0)
        lines = [
            json.dumps({"prompt": end.state.request.text, "generate_with": end.best.request})
            for end in ends
            if end.best is not None and end.best.origin == "refined" and end.best.request != end.state.request.text
        ]
        replace_file(file, [("\n".join(lines) + "\n").encode()])
    return file
