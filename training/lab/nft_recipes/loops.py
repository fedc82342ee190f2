"""Three refine loops: every picture by the shipped generator, by a tuned one, or by the tuned one for the user's own words alone.

    python -m training.lab.nft_recipes.loops --out runs/nft-recipes --recipe passes-shift --seeds 3 --held-out 320

What a tuned generator gains, it gains mostly in the wording it was trained in. In the third loop it draws until the judge
has a better prompt, and refined prompts are drawn by the shipped generator: in use that is one adapter, switched off.
`--out` is a folder in which `training.lab.nft_recipes` has trained the recipe; parts of 64 requests are kept, and the
same command goes on where it was stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from rationalrewards_core.engines import EngineOptions, make_scorer
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.miniature.generator import MiniatureGenerator
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.storage import replace_file

from ...nft.evaluation import PERFECT
from ..command import comparison_parser, run_comparison
from ..nft_proof.rivals import tuned_generator
from .report import gain
from .requests import held_out_requests
from .shift import generator_in_use
from .table import RECIPES
from .use import first_seed, in_parts, loop_truths

SHIPPED, TUNED, OWN_WORDS = "shipped", "tuned", "own_words"
LOOPS: Final = (TUNED, OWN_WORDS)
"""The two loops that a tuned generator has."""


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """How much is run."""

    recipe: str = "passes-shift"
    seeds: int = 3
    """Training runs, each with the newest of its weights."""
    held_out: int = 320
    """Of the demo's own requests."""
    images: int = 4
    """Of a loop, at most."""


class OwnWords:
    """Draws the users' own words with one generator and every other prompt with another."""

    def __init__(self, tuned: MiniatureGenerator, shipped: MiniatureGenerator, own: Collection[str]) -> None:
        self._tuned, self._shipped, self._own = tuned, shipped, frozenset(own)

    def generate_many(self, requests: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
        """A batch of pictures, one per request and seed, in their order."""
        pictures: dict[int, Image.Image] = {}
        for generator, is_own in ((self._tuned, True), (self._shipped, False)):
            places = [i for i, request in enumerate(requests) if (request in self._own) is is_own]
            if places:
                drawn = generator.generate_many([requests[i] for i in places], [seeds[i] for i in places])
                pictures |= dict(zip(places, drawn, strict=True))
        return [pictures[i] for i in range(len(requests))]


def compare(options: LoopOptions, out: Path) -> dict[str, Any]:
    """Run what is missing; returns the summary, which is also written to `loops.json`."""
    weights = [trained_weights(out, options.recipe, seed) for seed in range(options.seeds)]
    requests = held_out_requests(options.held_out)
    scorer = cache(lambda: make_scorer("miniature", EngineOptions(precision="fp32")))
    folder = out / "loops" / f"{options.images}-images"

    def measured(name: str, load: Callable[[Collection[str]], Any]) -> np.ndarray:
        return _loop_truth(folder / name, load, scorer, requests, options.images)

    shipped = measured(SHIPPED, lambda _: tuned_generator(None))
    tuned: dict[str, list[np.ndarray]] = {name: [] for name in LOOPS}
    summary: dict[str, Any] = {}
    for seed, file in enumerate(weights):
        for name in LOOPS:
            tuned[name].append(
                measured(f"{options.recipe}-{seed}-{name}", partial(_loaded, options.recipe, file, name))
            )
        summary = figures(shipped, tuned)
        replace_file(out / "loops.json", [json.dumps(summary, indent=2).encode()])
    return summary


def trained_weights(out: Path, recipe: str, seed: int) -> Path:
    """The newest weights of a training run; ConfigError with the command that makes them."""
    files = sorted((out / f"{RECIPES[recipe].trained_as or recipe}-{seed}" / "milestones").glob("*.safetensors"))
    if not files:
        raise ConfigError(
            f"{out} has no weights of {recipe} for seed {seed}; train them first: python -m training.lab.nft_recipes "
            f"--out {out} --recipes {recipe} --seeds {seed + 1} --milestones 1 --held-out 0"
        )
    return files[-1]


def _loaded(recipe: str, weights: Path, loop: str, own: Collection[str]) -> Any:
    tuned = generator_in_use(RECIPES[recipe], weights)
    return tuned if loop == TUNED else OwnWords(tuned, tuned_generator(None), own)


def _loop_truth(
    folder: Path,
    load: Callable[[Collection[str]], Any],
    scorer: Callable[[], Scorer],
    requests: Sequence[str],
    images: int,
) -> np.ndarray:
    """Truth of the best picture by the judge after 1, 2, ... images of a loop, `[requests images]`."""
    generator = cache(lambda: load(requests))

    def part_truth(part: range) -> dict[str, object]:
        return {"truth": loop_truths(scorer(), generator(), requests[part.start : part.stop], images, first_seed(part))}

    return np.concatenate([row["truth"] for row in in_parts(folder, len(requests), part_truth)])


def figures(shipped: np.ndarray, tuned: dict[str, list[np.ndarray]]) -> dict[str, Any]:
    """Truth `[requests images]` of each loop, after its first image and at its end, against the shipped loop's."""
    table: dict[str, Any] = {"requests": len(shipped), SHIPPED: _means([shipped])}
    for name, seeds in tuned.items():
        ends = [rows[:, -1] for rows in seeds]
        table[name] = {
            **_means(seeds),
            "end_of_each_seed": [round(float(rows.mean()), 4) for rows in ends],
            "first_over_shipped": gain([rows[:, 0] for rows in seeds], [shipped[:, 0]]),
            "end_over_shipped": gain(ends, [shipped[:, -1]]),
        }
    return table


def _means(seeds: Sequence[np.ndarray]) -> dict[str, float]:
    first, end = (np.mean([rows[:, at] for rows in seeds]) for at in (0, -1))
    perfect = np.mean([rows[:, -1] >= PERFECT for rows in seeds])
    return {"first": round(float(first), 4), "end": round(float(end), 4), "perfect": round(float(perfect), 4)}


def main() -> None:
    defaults = LoopOptions()
    parser = comparison_parser("nft_recipes.loops", __doc__, defaults)
    parser.set_defaults(out=Path("runs") / "nft-recipes")
    parser.add_argument("--recipe", choices=list(RECIPES), default=defaults.recipe)
    run_comparison(compare, LoopOptions, parser.parse_args())


if __name__ == "__main__":
    main()
