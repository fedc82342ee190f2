"""HPDv3: JSON arrays beside tars of images. `path1` is the preferred image of every row, so sides are shuffled."""

from __future__ import annotations

from collections.abc import Iterator

from rationalrewards_core.comparison import Verdict

from ..pairs import PreferencePair
from .intake import Dataset, Intake, Row, models_of, text


def _pairs(rows: Iterator[Row], intake: Intake) -> Iterator[PreferencePair]:
    def convert(row: Row) -> PreferencePair:
        confidence = row.get("confidence")
        is_share = isinstance(confidence, int | float) and not isinstance(confidence, bool) and 0 <= confidence <= 1
        pair = PreferencePair(
            request=text(row, "prompt"),
            first=intake.image(row["path1"]),
            second=intake.image(row["path2"]),
            preference=Verdict.A,
            strength=float(confidence) if is_share else None,  # type: ignore[arg-type]
            models=models_of(row, "model1", "model2"),
            origin=HPDV3.origin,
            row=f"{row['path1']} > {row['path2']}",
            licence=HPDV3.licence,
        )
        return pair.shuffled()

    return intake.each(rows, convert)


HPDV3 = Dataset(
    name="hpdv3",
    origin="MizzenAI/HPDv3",
    licence="MIT",
    required=("prompt", "path1", "path2", "model1", "model2", "confidence"),
    pairs=_pairs,
)
