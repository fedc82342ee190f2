"""Without training, and with it: one image, best-of-N and the refine loop at equal seconds (the demo's own comparison)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from rationalrewards_core.engines import make_scorer
from rationalrewards_core.miniature import generator_folder
from rationalrewards_core.miniature.demo import (
    DemoOptions,
    bootstrap_interval,
    demo_requests,
    run_demo,
    summarise,
)
from rationalrewards_core.miniature.generator import GUIDANCE, MiniatureGenerator

WAYS = ("one_image", "best_of_n", "refine_loop")


@dataclass(frozen=True)
class Ways:
    """Truth of what each way of using one generator ends with, `[requests]` each, by the oracle."""

    one_image: np.ndarray
    best_of_n: np.ndarray
    refine_loop: np.ndarray
    loop_seconds: float
    """Of the refine loop, over all requests, generator and judge."""


def tuned_generator(lora: Path | None, guidance: float = GUIDANCE) -> MiniatureGenerator:
    """The shipped generator, with a LoRA file where there is one; training uses no guidance (1)."""
    generator = MiniatureGenerator.load(generator_folder(), guidance)
    if lora is not None:
        generator.tune(lora)
    return generator


def use(generator: MiniatureGenerator, requests: int) -> Ways:
    """All three ways on the demo's held-out requests, with the shipped scorer as the judge of loop and best-of-N."""
    runs, clock = asyncio.run(run_demo(make_scorer("miniature"), generator, DemoOptions(prompts=requests), _quiet))
    summary = summarise(runs, clock)
    return Ways(
        np.array([run.loop_curve[0][1] for run in runs]),
        np.array([run.rival_curve[-1][1] for run in runs]),
        np.array([run.loop_curve[-1][1] for run in runs]),
        float(summary["generator_seconds"] + summary["judge_seconds"]),
    )


def _quiet(stage: str, count: int, total: int) -> None:
    """In place of the demo's progress bars."""


def compared(shipped: Ways, tuned: Sequence[Ways]) -> dict[str, object]:
    """Means over requests (and seeds), and gains over the same way, and over the loop, with the shipped generator.

    `tuned` are one arm's seeds, drawn with the guidance that `shipped` was drawn with.
    """
    table: dict[str, object] = {}
    for way in WAYS:
        mine = np.mean([getattr(ways, way) for ways in tuned], axis=0)
        table[way] = {
            "truth": round(float(mine.mean()), 4),
            "over_shipped": _difference(mine, getattr(shipped, way)),
            "over_shipped_loop": _difference(mine, shipped.refine_loop),
        }
    return table


def _difference(mine: np.ndarray, other: np.ndarray) -> dict[str, object]:
    gap = mine - other
    return {"gain": round(float(gap.mean()), 4), "ci95": bootstrap_interval(gap.tolist())}


def first_images(generator: MiniatureGenerator, count: int) -> tuple[list[str], list[Image.Image]]:
    """Held-out requests, and what the generator makes of each at first (guidance and steps as shipped)."""
    options = DemoOptions(prompts=count)
    requests = demo_requests(options)
    return requests, generator.generate_many(requests, [options.seed + 1000 * i for i in range(count)])
