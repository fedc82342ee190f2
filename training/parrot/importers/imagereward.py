"""ImageRewardDB: one row per image with its rank among the images of its prompt; all pairs of a prompt are made.

Rows of a prompt stand together. Rank 1 is best; equal ranks are ties.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, groupby

from rationalrewards_core.comparison import Verdict

from ..pairs import PreferencePair
from .intake import Dataset, Intake, Row, Skip, number, text

_RATINGS = 6.0
"""Range of `overall_rating` (1 to 7)."""


def _pairs(rows: Iterator[Row], intake: Intake) -> Iterator[PreferencePair]:
    for _, group in groupby(rows, key=lambda row: row["prompt_id"]):
        ranked = []
        for row in group:
            try:
                ranked.append((number(row, "rank"), number(row, "overall_rating"), intake.image(row["image"]), row))
            except Skip as skip:
                intake.skipped[skip.reason] += 1
        yield from intake.each(({"first": first, "second": second} for first, second in combinations(ranked, 2)), _pair)


def _pair(row: Row) -> PreferencePair:
    (rank_a, rating_a, image_a, about), (rank_b, rating_b, image_b, _) = row["first"], row["second"]
    preference = Verdict.TIE if rank_a == rank_b else Verdict.A if rank_a < rank_b else Verdict.B
    pair = PreferencePair(
        request=text(about, "prompt"),
        first=image_a,
        second=image_b,
        preference=preference,
        strength=min(1.0, abs(rating_a - rating_b) / _RATINGS),
        origin=IMAGEREWARD.origin,
        row=str(about["prompt_id"]),
        licence=IMAGEREWARD.licence,
    )
    return pair.shuffled()


IMAGEREWARD = Dataset(
    name="imagereward",
    origin="zai-org/ImageRewardDB",
    licence="Apache-2.0",
    required=("image", "prompt_id", "prompt", "rank", "overall_rating"),
    pairs=_pairs,
)
