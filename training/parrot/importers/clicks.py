"""A folder of images and a CSV: the way in for preferences of one's own.

request,first,second,preference,source        source may be empty or missing (several: separated by ;)
a red bicycle,a.png,b.png,A,                   preference: A, B or TIE (first, second, both, none and left, right too)
"""

from __future__ import annotations

from collections.abc import Iterator

from rationalrewards_core.comparison import Verdict

from ..pairs import PreferencePair
from .intake import Dataset, Intake, Row, Skip, text

_WORDS = {
    **dict.fromkeys(("a", "first", "left", "1"), Verdict.A),
    **dict.fromkeys(("b", "second", "right", "2"), Verdict.B),
    **dict.fromkeys(("tie", "both", "none", "equal", "both bad", "both good", "0"), Verdict.TIE),
}


def _pairs(rows: Iterator[Row], intake: Intake) -> Iterator[PreferencePair]:
    def convert(row: Row) -> PreferencePair:
        preference = _WORDS.get(str(row["preference"] or "").strip().casefold())
        if preference is None:
            raise Skip("unknown preference")
        sources = [name.strip() for name in (row.get("source") or "").split(";") if name.strip()]
        return PreferencePair(
            request=text(row, "request"),
            sources=tuple(intake.image(name) for name in sources),
            first=intake.image(row["first"]),
            second=intake.image(row["second"]),
            preference=preference,
            origin=row.get("origin") or FOLDER.origin,
            row=f"{row['first']}, {row['second']}",
            licence=row.get("licence") or FOLDER.licence,
        )

    return intake.each(rows, convert)


FOLDER = Dataset(
    name="folder",
    origin="own preferences",
    licence="",
    required=("request", "first", "second", "preference"),
    pairs=_pairs,
)
