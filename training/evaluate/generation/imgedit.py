"""ImgEdit-Bench, its basic (single-turn) part: three scores of 1 to 5 for each edit, averaged by kind of edit.

    basic_edit.json (or singleturn.json)    {"1082": {"id": "animal/000342021.jpg", "prompt": "...", "edit_type": "adjust"}}
    prompts.json (or judge_prompt.json)     {"adjust": "... <edit_prompt> ..."}
    OUTPUTS/1082.png

The prompt asks the judge to keep the second and third score below the first; the benchmark's programs do not enforce
it, and neither do we. They round each mean to two places; we round when we show. The published overall is the mean of
the nine kinds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from rationalrewards_core.errors import ConfigError

from ...data.store import ImageRoots
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
from .replies import scored_lines
from .wording import BenchmarkWording, filled, find_file, json_texts, official_file, our_texts, text_of

KINDS: Final = ("add", "adjust", "extract", "replace", "remove", "background", "style", "compose", "action")
TABLES: Final = ("basic_edit.json", "singleturn.json")
PROMPTS: Final = ("prompts.json", "judge_prompt.json")
KEYS: Final = ("id", "prompt", "edit_type")
MARK: Final = "<edit_prompt>"
SHEET: Final = Sheet("kinds of edits", "categories")


def load(setup: Setup) -> Expected:
    table, path = _table(setup.benchmark)
    wording = _wording(setup)
    inside = [path.parent, setup.benchmark, *sorted(setup.benchmark.rglob("singleturn"))]
    roots = ImageRoots([*setup.images, *(folder for folder in inside if folder.is_dir())])
    outputs = [_output(key, row, f"{path}, edit {key!r}", setup, wording, roots) for key, row in table.items()]
    return Expected(outputs=outputs, wording=wording)


def _table(benchmark: Path) -> tuple[dict[str, Any], Path]:
    path = find_file(TABLES, benchmark)
    if path is None:
        raise ConfigError(f"{benchmark} is no copy of ImgEdit-Bench: it holds no {' or '.join(TABLES)}.")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is no JSON.") from error
    if not isinstance(table, dict) or not table:
        raise ConfigError(f"{path} is not ImgEdit-Bench's: it must be an object with an edit under each key.")
    return table, path


def _wording(setup: Setup) -> BenchmarkWording:
    path = official_file(setup.prompts, PROMPTS, setup.checkout, setup.benchmark)
    if path is not None:
        texts = json_texts(path)
        return BenchmarkWording({kind: _with_mark(texts, kind, path) for kind in KINDS}, "official")
    ours = our_texts("imgedit")
    return BenchmarkWording(
        {kind: filled(ours["question"], {"<focus>": ours["focus"][kind]}) for kind in KINDS}, "ours"
    )


def _with_mark(texts: Mapping[str, Any], kind: str, path: Path) -> str:
    text = text_of(texts, kind, path)
    if MARK not in text:
        raise ConfigError(f"The prompt {kind!r} in {path} has no place {MARK} for the instruction.")
    return text


def _output(key: str, row: Any, where: str, setup: Setup, wording: BenchmarkWording, roots: ImageRoots) -> Output:
    missing = [name for name in KEYS if not isinstance(row, dict) or not isinstance(row.get(name), str)]
    if missing:
        raise ConfigError(f"{where} is not ImgEdit-Bench's: it lacks {missing[0]!r} (it needs {', '.join(KEYS)}).")
    if row["edit_type"] not in KINDS:
        raise ConfigError(f"{where} is of the unknown kind {row['edit_type']!r}; there are {', '.join(KINDS)}.")
    path = image_named(setup.outputs, safe_name(key, where))
    source = roots.reference(row["id"])
    if path is not None and source is None:
        raise ConfigError(
            f"The source image {row['id']!r} of ImgEdit-Bench is not here; give its folder with --images."
        )
    text = filled(wording.texts[row["edit_type"]], {MARK: row["prompt"]})
    question = BenchmarkQuestion(
        name="edit",
        parts=(text, QuestionPicture(of="source"), QuestionPicture(of="output")),
        read=partial(scored_lines, 3, 1, 5),
    )
    return Output(
        key=key,
        request=row["prompt"],
        path=path,
        sources=() if source is None else (source,),
        places=(SheetLine(SHEET, row["edit_type"]),),
        questions=(question,),
    )


def marks(output: Output, answers: Mapping[str, Scores]) -> Sequence[Scores]:
    """The mean of the three scores."""
    scores = answers["edit"]
    return [(sum(scores) / len(scores),)]


IMGEDIT: Final = Suite(
    name="imgedit",
    title="ImgEdit-Bench, single turn",
    protocol="PKU-YuanGroup/ImgEdit 547185d of 2025-09-07",
    judges=("gpt-4o", "gpt-4.1"),
    columns=("score",),
    scale="1 to 5",
    complete=737,
    load=load,
    marks=marks,
)
