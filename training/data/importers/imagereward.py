"""ImageRewardDB: one row per image with its rank among the images of its prompt; all pairs of a prompt are made.

Rows of a prompt need not stand together. Rank 1 is best; equal ranks are ties.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from rationalrewards_core.comparison import Verdict

from ..pairs import PreferencePair
from .intake import Dataset, Intake, Row, number, text

_RATINGS = 6.0
"""Range of `overall_rating` (1 to 7)."""


@dataclass(frozen=True, kw_only=True)
class _Ranked:
    """One image of a prompt."""

    prompt: tuple[str, str]
    """Its id and its text."""
    rank: float
    rating: float
    image: str


def _pairs(rows: Iterator[Row], intake: Intake) -> Iterator[PreferencePair]:
    """Each image makes a pair with every earlier one of its prompt, wherever that stood."""
    groups: dict[tuple[str, str], list[_Ranked]] = defaultdict(list)
    for one in intake.each(rows, lambda row: _ranked(row, intake)):
        yield from (_pair(earlier, one) for earlier in groups[one.prompt])
        groups[one.prompt].append(one)


def _ranked(row: Row, intake: Intake) -> _Ranked:
    return _Ranked(
        prompt=(str(row["prompt_id"]), text(row, "prompt")),
        rank=number(row, "rank"),
        rating=number(row, "overall_rating"),
        image=intake.image(row["image"]),
    )


def _pair(first: _Ranked, second: _Ranked) -> PreferencePair:
    lead = second.rank - first.rank
    return PreferencePair(
        request=first.prompt[1],
        first=first.image,
        second=second.image,
        preference=Verdict.TIE if lead == 0 else Verdict.A if lead > 0 else Verdict.B,
        strength=min(1.0, abs(first.rating - second.rating) / _RATINGS),
        origin=IMAGEREWARD.origin,
        row=first.prompt[0],
        licence=IMAGEREWARD.licence,
    ).shuffled()


IMAGEREWARD = Dataset(
    name="imagereward",
    origin="zai-org/ImageRewardDB",
    licence="Apache-2.0",
    required=("image", "prompt_id", "prompt", "rank", "overall_rating"),
    pairs=_pairs,
)
