"""Preferences between two pictures of one request, told by the oracle: what a scalar head learns from.

The scorer has seen renderings and pictures by the generator; a rival that learns from one kind alone would lose for
that reason and no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from PIL import Image

from rationalrewards_core.miniature.flaws import flawed
from rationalrewards_core.miniature.generator import MiniatureGenerator
from rationalrewards_core.miniature.oracle import oracle_critique
from rationalrewards_core.miniature.render import place, render
from rationalrewards_core.miniature.truth import judge_generation
from rationalrewards_core.miniature.world import sample_wish, short_request
from rationalrewards_core.reward import reward
from rationalrewards_core.rubric_file import generation_rubric

LEAST_GAP = 0.05
"""Pairs whose true rewards differ by less are left out: there is nothing to prefer."""


@dataclass(frozen=True)
class Preference:
    """Two pictures of one request."""

    request: str
    pictures: tuple[Image.Image, Image.Image]
    gap: float
    """True reward of the first minus that of the second; never 0."""


def rendered_preferences(rng: np.random.Generator, count: int, *, reserved: bool = False) -> list[Preference]:
    """Renderings with random flaws."""
    preferences: list[Preference] = []
    while len(preferences) < count:
        wish = sample_wish(rng, reserved=reserved)
        contents = [flawed(rng, wish) for _ in range(2)]
        true = [reward(judge_generation(wish, s), generation_rubric()) for s in contents]
        if abs(true[0] - true[1]) < LEAST_GAP:
            continue
        first, second = (Image.fromarray(render(rng, s, place(rng, s.content)).picture) for s in contents)
        preferences.append(Preference(short_request(wish), (first, second), true[0] - true[1]))
    return preferences


def drawn_preferences(
    generator: MiniatureGenerator, rng: np.random.Generator, requests: int, *, group: int = 4, reserved: bool = False
) -> list[Preference]:
    """Pictures that the generator drew of `requests` requests, each of a group against each other."""
    texts = [short_request(sample_wish(rng, reserved=reserved)) for _ in range(requests)]
    prompts = [text for text in texts for _ in range(group)]
    pictures: list[Image.Image] = []
    for start in range(0, len(prompts), 64):
        part = prompts[start : start + 64]
        pictures += generator.generate_many(part, [int(s) for s in rng.integers(2**31, size=len(part))])
    preferences = []
    for number, text in enumerate(texts):
        members = pictures[number * group : (number + 1) * group]
        true = [reward(oracle_critique(text, picture), generation_rubric()) for picture in members]
        for a, b in combinations(range(group), 2):
            if abs(true[a] - true[b]) >= LEAST_GAP:
                preferences.append(Preference(text, (members[a], members[b]), true[a] - true[b]))
    return preferences
