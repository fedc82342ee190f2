"""Rapidata's two schemas: older sets count votes, newer ones weigh them per question (higher is better)."""

from __future__ import annotations

from collections.abc import Iterator

from rationalrewards_core.comparison import Verdict, verdict_of_rewards

from ..pairs import PreferencePair
from .intake import Dataset, Intake, Row, Skip, models_of, number, text

TIE_SHARE = 0.1
"""Lead, as a share of all votes, below which a crowd has not decided."""


def _crowd(first: float, second: float) -> tuple[Verdict, float]:
    """(preference, strength) of two counts or weights. Raises Skip if there are none."""
    total = first + second
    if min(first, second) < 0 or total <= 0:
        raise Skip("no votes")
    lead = abs(first - second) / total
    return verdict_of_rewards(first / total, second / total, margin=TIE_SHARE), lead


def _vote_pairs(rows: Iterator[Row], intake: Intake) -> Iterator[PreferencePair]:
    return _pairs(rows, intake, VOTES, "votes_image1", "votes_image2")


def _weighted_pairs(rows: Iterator[Row], intake: Intake) -> Iterator[PreferencePair]:
    return _pairs(rows, intake, WEIGHTED, "weighted_results_image1_preference", "weighted_results_image2_preference")


def _pairs(rows: Iterator[Row], intake: Intake, dataset: Dataset, first: str, second: str) -> Iterator[PreferencePair]:
    place = iter(range(1 << 62))

    def convert(row: Row) -> PreferencePair:
        index = next(place)
        preference, strength = _crowd(number(row, first), number(row, second))
        return PreferencePair(
            request=text(row, "prompt"),
            first=intake.image(row["image1"]),
            second=intake.image(row["image2"]),
            preference=preference,
            strength=strength,
            models=models_of(row, "model1", "model2"),
            origin=dataset.origin,
            row=str(index),
            licence=dataset.licence,
        )

    return intake.each(rows, convert)


VOTES = Dataset(
    name="rapidata",
    origin="Rapidata human preferences (votes)",
    licence="see the card of the set",
    required=("prompt", "image1", "image2", "votes_image1", "votes_image2", "model1", "model2"),
    pairs=_vote_pairs,
)
WEIGHTED = Dataset(
    name="rapidata-weighted",
    origin="Rapidata t2i human preference (weighted)",
    licence="see the card of the set",
    required=(
        "prompt",
        "image1",
        "image2",
        "model1",
        "model2",
        "weighted_results_image1_preference",
        "weighted_results_image2_preference",
    ),
    pairs=_weighted_pairs,
)
