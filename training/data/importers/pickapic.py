"""Pick-a-Pic v1 and v2: JPEG bytes inside the rows, `label_0` and `label_1` are 0, 0.5 or 1."""

from __future__ import annotations

from collections.abc import Iterator

from rationalrewards_core.comparison import Verdict

from ..pairs import PreferencePair
from .intake import Dataset, Intake, Row, Skip, models_of, number, text

_LABELS = {(1.0, 0.0): Verdict.A, (0.0, 1.0): Verdict.B, (0.5, 0.5): Verdict.TIE}


def _pairs(rows: Iterator[Row], intake: Intake) -> Iterator[PreferencePair]:
    def convert(row: Row) -> PreferencePair:
        if row.get("has_label") is False:
            raise Skip("no label")
        labels = number(row, "label_0"), number(row, "label_1")
        preference = _LABELS.get(labels)
        if preference is None:
            raise Skip("unknown label", labels)
        return PreferencePair(
            request=text(row, "caption"),
            first=intake.image(row["jpg_0"]),
            second=intake.image(row["jpg_1"]),
            preference=preference,
            models=models_of(row, "model_0", "model_1"),
            origin=PICKAPIC.origin,
            row=str(row["ranking_id"]),
            licence=PICKAPIC.licence,
        )

    return intake.each(rows, convert)


PICKAPIC = Dataset(
    name="pickapic",
    origin="yuvalkirstain/pickapic",
    licence="research; unsafe content inside",
    required=("caption", "jpg_0", "jpg_1", "label_0", "label_1", "has_label", "ranking_id"),
    pairs=_pairs,
)
