"""A folder of images and a CSV: the way in for preferences of one's own.

request,first,second,preference,source        source may be empty or missing (several: separated by ;)
a red bicycle,a.png,b.png,A,                   preference: A, B or TIE (see `labels`)
"""

from __future__ import annotations

from collections.abc import Iterator

from ..pairs import PreferencePair
from .intake import Dataset, Intake, Skip, text
from .labels import read_label
from .tables import Row, place_of


def _pairs(rows: Iterator[Row], intake: Intake) -> Iterator[PreferencePair]:
    def convert(row: Row) -> PreferencePair:
        label = row["preference"]
        preference = read_label(label, intake.labels, row["first"], row["second"], place_of(row))
        if preference is None:
            raise Skip("unknown preference", "" if label is None else label)
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
