"""GEdit-Bench: VIEScore's two questions about each edit, on scales of 0 to 10.

    rows    key, task_type, instruction, instruction_language (en, cn), input_image, input_image_raw, Intersection_exist
    OUTPUTS/fullset/TASK_TYPE/LANGUAGE/KEY.png (`fullset/` may be left out)

SC is the lower of two scores of how well the instruction was followed, PQ the lower of two scores of the edited image
alone, and O the square root of SC x PQ. All three are averaged by kind of task, and the kinds are averaged. The edited
image is scaled to the source's size. The benchmark's programs draw a random number for a reply that they cannot read;
here it is unscored. They send JPEG to GPT; we send PNG.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from rationalrewards_core.errors import ConfigError, RequestError

from ...data.importers.intake import Row, check_columns
from ...data.importers.tables import read_rows
from ...data.store import ImageStore
from .outputs import (
    BenchmarkQuestion,
    Expected,
    Output,
    QuestionPicture,
    Scores,
    Setup,
    Sheet,
    SheetLine,
    Suite,
    image_named,
    safe_name,
)
from .replies import json_scores
from .wording import BenchmarkWording, filled, official_file, our_texts, python_literals, text_of

KINDS: Final = (
    "background_change", "color_alter", "material_alter", "motion_change", "ps_human", "style_change", "subject-add",
    "subject-remove", "subject-replace", "text_change", "tone_transfer",
)  # fmt: skip
COLUMNS: Final = ("key", "task_type", "instruction", "instruction_language", "input_image", "Intersection_exist")
MARK: Final = "<instruction>"
OFFICIAL: Final = "vie_prompts.py"


def load(setup: Setup) -> Expected:
    wording = _wording(setup)
    store = ImageStore(setup.out)
    languages = GEDIT.chosen(setup.parts)
    rows = read_rows(str(setup.benchmark), partial(check_columns, "GEdit-Bench", COLUMNS), ".parquet")
    outputs = [_output(row, setup, wording, store) for row in rows if row["instruction_language"] in languages]
    if not outputs:
        raise ConfigError(f"{setup.benchmark} has no instruction in {' or '.join(languages)}.")
    return Expected(outputs=outputs, wording=wording)


def _wording(setup: Setup) -> BenchmarkWording:
    path = official_file(setup.prompts, (OFFICIAL,), setup.checkout, setup.benchmark)
    if path is None:
        ours = our_texts("gedit")
        return BenchmarkWording({name: ours["opening"] + ours[name] for name in ("sc", "pq")}, "ours")
    texts = python_literals(path)
    opening = text_of(texts, "_context_no_delimit", path)
    followed = [text_of(texts, f"_prompts_0shot_{name}", path) for name in ("two_image_edit_rule", "tie_rule_SC")]
    quality = text_of(texts, "_prompts_0shot_rule_PQ", path)
    if MARK not in followed[1]:
        raise ConfigError(f"{path} has no place {MARK} for the instruction; is it of another version of the benchmark?")
    return BenchmarkWording({"sc": "\n".join([opening, *followed]), "pq": f"{opening}\n{quality}"}, "official")


def _output(row: Row, setup: Setup, wording: BenchmarkWording, store: ImageStore) -> Output:
    key, kind, language = (str(row[name]) for name in ("key", "task_type", "instruction_language"))
    where = f"GEdit-Bench's row {key!r}"
    if kind not in KINDS:
        raise ConfigError(f"{where} is of the unknown task {kind!r}; there are {', '.join(KINDS)}.")
    if not isinstance(row["instruction"], str):
        raise ConfigError(f"{where} has no instruction.")
    path = _made(setup.outputs, kind, language, safe_name(key, where))
    sheets = ["fullset", *(["intersection"] if row["Intersection_exist"] else [])]
    read = partial(json_scores, 2, 0.0, 10.0)
    edited = QuestionPicture(of="output", like_source=True)
    followed = filled(wording.texts["sc"], {MARK: row["instruction"]})
    return Output(
        key=f"{language}/{key}",
        request=row["instruction"],
        path=path,
        sources=() if path is None else (_source(row["input_image"], where, store),),
        places=tuple(SheetLine(Sheet(f"{sheet}, {language}", "categories"), kind) for sheet in sheets),
        questions=(
            BenchmarkQuestion(name="sc", parts=(followed, QuestionPicture(of="source"), edited), read=read),
            BenchmarkQuestion(name="pq", parts=(wording.texts["pq"], edited), read=read),
        ),
    )


def _made(outputs: Path, kind: str, language: str, key: str) -> Path | None:
    for folder in (outputs / "fullset", outputs):
        path = image_named(folder / kind / language, key)
        if path is not None:
            return path
    return None


def _source(cell: Any, where: str, store: ImageStore) -> str:
    content = cell.get("bytes") if isinstance(cell, Mapping) else cell
    if not isinstance(content, bytes | bytearray):
        raise ConfigError(f"{where} has no bytes in input_image; is the table GEdit-Bench's Parquet?")
    try:
        return store.add(bytes(content))
    except RequestError as error:
        raise ConfigError(f"{where} has a source image that cannot be read: {error}") from error


def marks(output: Output, answers: Mapping[str, Scores]) -> Sequence[Scores]:
    """SC, PQ and O, at each place."""
    followed, quality = min(answers["sc"]), min(answers["pq"])
    return [(followed, quality, math.sqrt(followed * quality))] * len(output.places)


GEDIT: Final = Suite(
    name="gedit",
    title="GEdit-Bench",
    protocol="stepfun-ai/Step1X-Edit 570eba6 of 2025-05-22 (VIEScore)",
    judges=("gpt-4.1", "Qwen2.5-VL-72B-Instruct"),
    columns=("SC", "PQ", "O"),
    scale="0 to 10",
    complete=606,
    load=load,
    marks=marks,
    parts=("en", "cn"),
)
