"""UniGenBench++: whether an image meets each testpoint of its prompt, in percent of all testpoints of a dimension.

    test_prompts_en.csv     index, prompt_en, sub_dims_en = {"Testpoints": [...], "Testpoint Description": [...], ...}
    test_prompts_zh.csv     index, prompt_zh, sub_dims_zh = the same in Chinese
    OUTPUTS/INDEX_0.png ... INDEX_3.png (or OUTPUTS/PART/...)

A testpoint is named `Attribute - Quantity`; what stands before the hyphen is its primary dimension. The published
overall is the mean of the ten primary dimensions.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from rationalrewards_core.errors import ConfigError

from ...data.importers.intake import Row, Skip, check_columns
from ...data.importers.tables import read_rows
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
)
from .replies import tagged_marks
from .wording import BenchmarkWording, filled, find_file, official_file, our_texts, python_literals, text_of

OFFICIAL: Final = "eval_common.py"
QUOTED: Final = ("\u300c", "\n\u300d")
"""What the benchmark puts around its lists."""


class Language(NamedTuple):
    """What a prompt set calls its columns and keys."""

    code: str
    points: str
    cues: str

    @property
    def columns(self) -> tuple[str, str, str]:
        return "index", f"prompt_{self.code}", f"sub_dims_{self.code}"


ENGLISH: Final = Language("en", "Testpoints", "Testpoint Description")
CHINESE: Final = Language("zh", "考点", "考点对应描述")
LANGUAGES: Final = {"en": ENGLISH, "en_long": ENGLISH, "zh": CHINESE, "zh_long": CHINESE}


def load(setup: Setup) -> Expected:
    parts = UNIGENBENCH.chosen(setup.parts)
    wording = _wording(setup)
    outputs: list[Output] = []
    left_out: Counter[str] = Counter()
    for part in parts:
        path = find_file((f"test_prompts_{part}.csv",), setup.benchmark)
        if path is None:
            raise ConfigError(f"{setup.benchmark} is no copy of UniGenBench: it holds no test_prompts_{part}.csv.")
        folder = _folder(setup.outputs, part, alone=len(parts) == 1)
        language = LANGUAGES[part]
        for row in read_rows(str(path), partial(check_columns, "UniGenBench's", language.columns)):
            try:
                outputs += _outputs(row, part, language, folder, setup.per_prompt, wording)
            except Skip as skip:
                left_out[skip.reason] += 1
    if not outputs:
        raise ConfigError(f"No prompt of {setup.benchmark} can be judged: {', '.join(left_out) or 'there is none'}.")
    return Expected(outputs=outputs, wording=wording, left_out=left_out)


def _folder(outputs: Path, part: str, *, alone: bool) -> Path:
    if (outputs / part).is_dir():
        return outputs / part
    if alone:
        return outputs
    raise ConfigError(f"{outputs} needs a folder {part!r}, because several prompt sets are judged.")


def _wording(setup: Setup) -> BenchmarkWording:
    path = official_file(setup.prompts, (OFFICIAL,), setup.checkout, setup.benchmark)
    if path is None:
        return BenchmarkWording(our_texts("unigenbench"), "ours")
    literals = python_literals(path)
    texts: dict[str, Any] = {}
    for code, settings in _table(literals, "LANG_CONFIGS", path).items():
        name = code.upper()
        texts[code] = {
            "question": text_of(literals, f"SYSTEM_PROMPT_{name}_TEMPLATE", path),
            "explanations": _table(literals, f"EXPLANATION_DICT_{name}", path),
            "explanations_label": text_of(settings, "checkpoint_header", path) + ":",
            "cues_label": text_of(settings, "checkpoint_desc_header", path) + ":",
        }
    for code in (ENGLISH.code, CHINESE.code):
        _table(texts, code, path)
    return BenchmarkWording(texts, "official")


def _table(literals: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    table = literals.get(name)
    if not isinstance(table, dict) or not table:
        raise ConfigError(f"{path} has no table {name!r}; is it of another version of the benchmark?")
    return table


def _outputs(
    row: Row, part: str, language: Language, folder: Path, per_prompt: int, wording: BenchmarkWording
) -> list[Output]:
    index, prompt = str(row["index"]).strip(), str(row[language.columns[1]])
    where = f"UniGenBench's prompt {part}/{index}"
    if not index.isdecimal():
        raise ConfigError(f"{where} has no whole number as its index.")
    points, cues = _points(str(row[language.columns[2]]), language, where)
    text = _question(prompt, points, cues, wording.texts[language.code], where)
    question = BenchmarkQuestion(
        name="points", parts=(text, QuestionPicture(of="output")), read=partial(tagged_marks, len(points))
    )
    primary, fine = Sheet(f"primary dimensions, {part}", "categories"), Sheet(f"testpoints, {part}")
    places = tuple(
        place
        for point in points
        for place in (SheetLine(primary, point.split("-", 1)[0].strip()), SheetLine(fine, point))
    )
    return [
        Output(
            key=f"{part}/{index}_{number}",
            request=prompt,
            path=image_named(folder, f"{index}_{number}"),
            places=places,
            questions=(question,),
            unit=f"{part}/{index}",
        )
        for number in range(per_prompt)
    ]


def _points(cell: str, language: Language, where: str) -> tuple[list[str], list[str]]:
    try:
        table = json.loads(cell)
    except ValueError as error:  # as one prompt of the published en_long has it
        raise Skip(f"a prompt whose {language.columns[2]} is damaged JSON") from error
    lists = [table.get(name) if isinstance(table, dict) else None for name in (language.points, language.cues)]
    for name, cells in zip((language.points, language.cues), lists, strict=True):
        if not isinstance(cells, list) or not cells or not all(isinstance(one, str) for one in cells):
            raise ConfigError(f"{where} has no list of texts {name!r} in {language.columns[2]}.")
    points, cues = lists
    if len(points) != len(cues):
        raise ConfigError(f"{where} has {len(points)} testpoints and {len(cues)} descriptions of them.")
    return points, cues


def _question(prompt: str, points: list[str], cues: list[str], texts: Mapping[str, Any], where: str) -> str:
    explanations = texts["explanations"]
    unknown = [point for point in points if explanations and point not in explanations]
    if unknown:
        raise ConfigError(f"{where} has a testpoint {unknown[0]!r} that the benchmark's prompts do not explain.")
    explained = [f"\n{point}: {explanations[point]}" for point in points] if explanations else []
    described = [f"\n{point}: {cue}" for point, cue in zip(points, cues, strict=True)]
    values = {
        "{prompt}": prompt,
        "{testpoint}": str(points),
        "{explanation}": texts["explanations_label"] + "".join(explained).join(QUOTED),
        "{test_explanation}": texts["cues_label"] + "".join(described).join(QUOTED),
    }
    return filled(texts["question"], values)


def marks(output: Output, answers: Mapping[str, Scores]) -> Sequence[Scores]:
    """100 or 0 for each testpoint, in its dimension and by itself."""
    return [(100.0 * mark,) for mark in answers["points"] for _ in range(2)]


UNIGENBENCH: Final = Suite(
    name="unigenbench",
    title="UniGenBench++",
    protocol="CodeGoat24/UniGenBench 49d0bce of 2026-06-07",
    judges=("gemini-2.5-pro", "UniGenBench-EvalModel"),
    columns=("met, %",),
    scale="0 to 100",
    complete=2400,
    load=load,
    marks=marks,
    edits=False,
    parts=("en", "en_long", "zh", "zh_long"),
)
