"""Preferences of the miniature world: two flawed pictures of one request, and what people with stated noise say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from rationalrewards_core.comparison import Verdict, verdict_of_rewards
from rationalrewards_core.critique import Critique
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.images import png_bytes
from rationalrewards_core.miniature.flaws import Picture, flawed, sample_attempts
from rationalrewards_core.miniature.render import place, render
from rationalrewards_core.miniature.truth import judge_generation
from rationalrewards_core.miniature.world import sample_wish, short_request
from rationalrewards_core.reward import reward
from rationalrewards_core.rubric_file import edit_rubric, generation_rubric

from ..pairs import PreferencePair
from .intake import Intake

ORIGIN = "miniature"


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """How people of the miniature world choose."""

    wrong: float = 0.05
    """Share of votes for the other image."""
    tie_band: float = 0.03
    """Difference of true rewards below which they call it a tie."""

    def __post_init__(self) -> None:
        if not (0 <= self.wrong < 0.5 and 0 <= self.tie_band < 1):
            raise ConfigError("wrong must be from 0 to below 0.5, tie_band from 0 to below 1.")

    def vote(self, rng: np.random.Generator, true_a: float, true_b: float) -> Verdict:
        verdict = verdict_of_rewards(true_a, true_b, margin=self.tie_band)
        return verdict.swapped if rng.random() < self.wrong else verdict


def miniature_pairs(
    intake: Intake, count: int, seed: int, crowd: Crowd, *, reserved: bool = False, edits: float = 0.0
) -> Iterator[PreferencePair]:
    """`count` pairs; `edits` is the share of edits, `reserved` asks for requests that no model was trained on."""
    rng = np.random.default_rng(seed)
    for row in range(count):
        yield (_edit if rng.random() < edits else _generation)(rng, intake, str(row), crowd, reserved)


def _generation(rng: np.random.Generator, intake: Intake, row: str, crowd: Crowd, reserved: bool) -> PreferencePair:
    wish = sample_wish(rng, reserved=reserved)
    pictures, rewards = [], []
    for _ in range(2):
        content = flawed(rng, wish)
        pictures.append(render(rng, content, place(rng, content.content)).picture)
        rewards.append(_reward(judge_generation(wish, content)))
    return PreferencePair(
        request=short_request(wish),
        first=_taken(intake, pictures[0]),
        second=_taken(intake, pictures[1]),
        preference=crowd.vote(rng, rewards[0], rewards[1]),
        strength=abs(rewards[0] - rewards[1]),
        origin=ORIGIN,
        row=row,
        licence="Apache-2.0",
    )


def _edit(rng: np.random.Generator, intake: Intake, row: str, crowd: Crowd, reserved: bool) -> PreferencePair:
    first, second = sample_attempts(rng, 2, reserved=reserved)
    rewards = _reward(first.critique), _reward(second.critique)
    assert first.source is not None
    return PreferencePair(
        request=first.request,
        sources=(_taken(intake, first.source),),
        first=_taken(intake, first.picture),
        second=_taken(intake, second.picture),
        preference=crowd.vote(rng, *rewards),
        strength=abs(rewards[0] - rewards[1]),
        origin=ORIGIN,
        row=row,
        licence="Apache-2.0",
    )


def _reward(critique: Critique) -> float:
    return reward(critique, edit_rubric() if critique.rubric == "edit" else generation_rubric())


def _taken(intake: Intake, picture: Picture) -> str:
    return intake.image(png_bytes(Image.fromarray(picture)))
