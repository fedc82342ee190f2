"""Public benchmarks as folders of labelled pairs, by their exact columns.

Two benchmarks are called EditReward-Bench; here they are `erb-tiger` (TIGER-Lab) and `erb-editscore` (EditScore).
Rows that give no pair are counted by reason: an unknown label is never a tie.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from rationalrewards_core.comparison import Verdict
from rationalrewards_core.errors import ConfigError

from . import mmrb2
from .cells import images_of, label_of
from .importers.hpdv3 import HPDV3
from .importers.imagereward import IMAGEREWARD
from .importers.intake import Dataset, Intake, Row, Skip, check_columns, models_of, text
from .importers.tables import read_rows
from .labelled_pairs import LabelledPair, write_pairs
from .mmrb2 import mmrb2_pairs
from .pairs import PreferencePair
from .store import ImageRoots, ImageStore

SPLIT: Final = "test"
VOTES: Final = {"leftvote": Verdict.A, "rightvote": Verdict.B, "tievote": Verdict.TIE, "bothbad_vote": Verdict.TIE}
"""GenAI-Bench's votes."""
DIMENSIONS: Final = {"prompt_following": "text_faithfulness", "consistency": "image_faithfulness", "overall": ""}
"""What EditScore's dimensions are called here; `overall` is the preference itself."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One benchmark that can be imported."""

    name: str
    """What the user types and every table shows."""
    origin: str
    licence: str
    required: tuple[str, ...]
    """Columns without which a table is not this benchmark."""
    instead: tuple[str, ...] = ()
    """Columns of another form of the same benchmark, each of which will do alone."""
    convert: Callable[[Iterator[Row], Intake], Iterator[LabelledPair]]
    note: str = ""
    """What to know before reading its figures."""

    def check(self, columns: Iterable[str], where: str) -> None:
        columns_there = set(columns)
        if not columns_there & set(self.instead):
            check_columns(self.name, self.required, columns_there, where)


def import_benchmark(
    name: str, source: str, folder: Path, roots: list[Path], *, split: str = "", limit: int | None = None
) -> tuple[int, Intake]:
    """Write a benchmark's pairs and pictures to a folder; returns how many, and who knows what was left out."""
    if name not in BENCHMARKS:
        raise ConfigError(f"Unknown benchmark {name!r}; there are {', '.join(BENCHMARKS)}.")
    benchmark = BENCHMARKS[name]
    # Images named by path lie in the folders the user gave, or beside the table.
    beside = [Path(source).parent if Path(source).is_file() else Path(source)] if Path(source).exists() else []
    intake = Intake(ImageStore(folder), ImageRoots([*roots, *beside]))
    pairs = benchmark.convert(read_rows(source, benchmark.check, split), intake)
    count = write_pairs(islice(pairs, limit), folder)
    if not count:
        raise ConfigError(f"Not one row of {source} gave a pair: {', '.join(intake.left_out()[:2]) or 'no rows'}.")
    return count, intake


def _each(convert: Callable[[Row, Intake], LabelledPair]) -> Callable[[Iterator[Row], Intake], Iterator[LabelledPair]]:
    """One pair per row; rows that give none are counted."""

    return lambda rows, intake: intake.each(rows, lambda row: convert(row, intake))


def _of_dataset(dataset: Dataset) -> Callable[[Iterator[Row], Intake], Iterator[LabelledPair]]:
    def pairs(rows: Iterator[Row], intake: Intake) -> Iterator[LabelledPair]:
        return (LabelledPair(pair, SPLIT) for pair in dataset.pairs(rows, intake))

    return pairs


def _vote(row: Row) -> Verdict:
    vote = VOTES.get(str(row["vote_type"]))
    if vote is None:
        raise Skip("unknown vote", row["vote_type"])
    return vote


def _genai_t2i(row: Row, intake: Intake) -> LabelledPair:
    return LabelledPair(
        PreferencePair(
            request=text(row, "prompt"),
            first=intake.image(row["left_image"]),
            second=intake.image(row["right_image"]),
            preference=_vote(row),
            models=models_of(row, "left_model", "right_model"),
            origin="TIGER-Lab/GenAI-Bench image_generation",
            licence="CC-BY-4.0",
        ),
        SPLIT,
    )


def _genai_edit(row: Row, intake: Intake) -> LabelledPair:
    return LabelledPair(
        PreferencePair(
            request=text(row, "instruct_prompt"),
            sources=(intake.image(row["source_image"]),),
            first=intake.image(row["left_output_image"]),
            second=intake.image(row["right_output_image"]),
            preference=_vote(row),
            models=models_of(row, "left_model", "right_model"),
            origin="TIGER-Lab/GenAI-Bench image_edition",
            licence="CC-BY-4.0",
        ),
        SPLIT,
    )


def _erb_tiger(row: Row, intake: Intake) -> LabelledPair:
    """`ranking` names candidates by the letters of `comparison_type` (`AvsC`), where there is one."""
    letters = str(row.get("comparison_type") or "AvsB").split("vs")
    if len(letters) != 2:
        raise Skip("unknown comparison type", row.get("comparison_type"))
    return LabelledPair(
        PreferencePair(
            request=text(row, "instruction"),
            sources=(intake.image(row["source_image"]),),
            first=intake.image(row["candidate_1"]),
            second=intake.image(row["candidate_2"]),
            preference=label_of(row["ranking"], *letters),
            models=models_of(row, "model_1", "model_2"),
            row=str(row.get("id", "")),
            origin=f"TIGER-Lab/EditReward-Bench {row.get('dataset', '')}".strip(),
            licence="Apache-2.0",
        ),
        SPLIT,
        _tiger_ratings(row),
    )


def _tiger_ratings(row: Row) -> dict[str, tuple[float, float]]:
    """People's scores per dimension, where the table has them."""
    ratings = {}
    for column, key in (("instruction_following", "text_faithfulness"), ("visual_quality", "physical_quality")):
        scores = [row.get(f"{column}_{number}") for number in (1, 2)]
        if all(type(score) in (int, float) and math.isfinite(score) for score in scores):  # type: ignore[arg-type]
            ratings[key] = (float(scores[0]), float(scores[1]))  # type: ignore[arg-type]
    return ratings


def _erb_editscore(row: Row, intake: Intake) -> LabelledPair:
    outputs = images_of(row["output_images"])
    if len(outputs) != 2:
        raise Skip("not two output images")
    dimension = str(row["dimension"])
    if dimension not in DIMENSIONS:
        raise Skip(f"unknown dimension {dimension[:20]!r}")
    pair = PreferencePair(
        request=text(row, "instruction"),
        sources=(intake.image(row["input_image"]),),
        first=intake.image(outputs[0]),
        second=intake.image(outputs[1]),
        preference=Verdict.A,
        row=" > ".join(str(key) for key in images_of(row["key"])),
        origin=f"EditScore/EditReward-Bench {dimension} {row['task_type']}",
    )
    order = pair.shuffled()
    key = DIMENSIONS[dimension]
    ratings = {key: (1.0, 0.0) if order.preference is Verdict.A else (0.0, 1.0)} if key else {}
    return LabelledPair(order, SPLIT, ratings)


_ALL: Final = (
    Benchmark(
        name="genai-t2i", origin="TIGER-Lab/GenAI-Bench", licence="CC-BY-4.0", convert=_each(_genai_t2i),
        required=("prompt", "left_image", "right_image", "left_model", "right_model", "vote_type"),
        note="not the GenAI-Bench of arXiv 2406.13743; `tievote` and `bothbad_vote` are ties, so name the tie protocol",
    ),
    Benchmark(
        name="genai-edit", origin="TIGER-Lab/GenAI-Bench", licence="CC-BY-4.0", convert=_each(_genai_edit),
        required=("source_prompt", "target_prompt", "instruct_prompt", "source_image", "left_output_image",
                  "right_output_image", "left_model", "right_model", "vote_type"),
        note="`tievote` and `bothbad_vote` are ties, so name the tie protocol",
    ),
    Benchmark(
        name="mmrb2", origin="Multimodal RewardBench 2", licence="CC-BY-NC-4.0", convert=mmrb2_pairs,
        required=mmrb2.FLAT, instead=(mmrb2.NESTED,),
        note="its own protocol is the mean over both orders: judge it pairwise",
    ),
    Benchmark(
        name="erb-tiger", origin="TIGER-Lab/EditReward-Bench", licence="Apache-2.0", convert=_each(_erb_tiger),
        required=("instruction", "source_image", "candidate_1", "candidate_2", "ranking"),
        note="its own figure for 3 and 4 candidates is the group accuracy: every pair of a source right",
    ),
    Benchmark(
        name="erb-editscore", origin="EditScore/EditReward-Bench", licence="", convert=_each(_erb_editscore),
        required=("key", "instruction", "input_image", "output_images", "task_type", "dimension"),
        note="the table has no label: its authors' program counts a judge right that scores the first output higher "
        "(EditScore 6e0f1b9); that is protocol `forced`, averaged over kinds of tasks",
    ),
    Benchmark(
        name="hpdv3-test", origin=HPDV3.origin, licence=HPDV3.licence, required=HPDV3.required,
        convert=_of_dataset(HPDV3), note="`path1` always wins in the file; sides are shuffled by content",
    ),
    Benchmark(
        name="imagereward-test", origin=IMAGEREWARD.origin, licence=IMAGEREWARD.licence,
        required=IMAGEREWARD.required, convert=_of_dataset(IMAGEREWARD), note="equal ranks are ties",
    ),
)  # fmt: skip
BENCHMARKS: Final[Mapping[str, Benchmark]] = {benchmark.name: benchmark for benchmark in _ALL}
