"""EditReward-Data (hub, Parquet with images inside) and the JSON that EditReward trains on.

The table names the vote. The training JSON puts the preferred edit first in every row, so its sides are shuffled.
"""

from __future__ import annotations

from collections.abc import Iterator

from rationalrewards_core.comparison import Verdict

from ..pairs import PreferencePair
from .intake import Dataset, Intake, Row, Skip, models_of, number, text

_VOTES = {"leftvote": Verdict.A, "rightvote": Verdict.B, "tie": Verdict.TIE}
_SPREAD = 6.0
"""Range of the overall score (2 to 8)."""


def _table_pairs(rows: Iterator[Row], intake: Intake) -> Iterator[PreferencePair]:
    def convert(row: Row) -> PreferencePair:
        vote = _VOTES.get(str(row["vote_type"]))
        if vote is None:
            raise Skip("unknown vote", row["vote_type"])
        gap = abs(number(row, "left_overall_score") - number(row, "right_overall_score"))
        return PreferencePair(
            request=text(row, "instruction"),
            sources=(intake.image(row["source_img"]),),
            first=intake.image(row["left_output_image"]),
            second=intake.image(row["right_output_image"]),
            preference=vote,
            strength=min(1.0, gap / _SPREAD),
            models=models_of(row, "left_model", "right_model"),
            origin=TABLE.origin,
            row=str(row["unique_key"]),
            licence=TABLE.licence,
        )

    return intake.each(rows, convert)


def _training_pairs(rows: Iterator[Row], intake: Intake) -> Iterator[PreferencePair]:
    def convert(row: Row) -> PreferencePair:
        tie = row["tie_case"]
        if not isinstance(tie, bool):
            raise Skip("tie_case is neither true nor false", tie)
        pair = PreferencePair(
            request=text(row, "prompt"),
            sources=(intake.image(row["path_src"]),),
            first=intake.image(row["path1"]),
            second=intake.image(row["path2"]),
            preference=Verdict.TIE if tie else Verdict.A,
            models=models_of(row, "model1", "model2"),
            origin=TRAINING.origin,
            row=f"{row['path1']} > {row['path2']}",
            licence=TRAINING.licence,
        )
        return pair.shuffled()

    return intake.each(rows, convert)


TABLE = Dataset(
    name="editreward",
    origin="TIGER-Lab/EditReward-Data",
    licence="CC-BY-NC-4.0",
    required=(
        "unique_key",
        "instruction",
        "source_img",
        "left_output_image",
        "right_output_image",
        "left_model",
        "right_model",
        "left_overall_score",
        "right_overall_score",
        "vote_type",
    ),
    pairs=_table_pairs,
)
TRAINING = Dataset(
    name="editreward-json",
    origin="TIGER-Lab/EditReward (training JSON)",
    licence="CC-BY-NC-4.0",
    required=("prompt", "path_src", "path1", "path2", "tie_case"),
    pairs=_training_pairs,
)
