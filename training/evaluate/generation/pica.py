"""PICA-Bench: yes-or-no questions about marked parts of an edited image, in percent answered as they should be.

    meta_info.json (its prepare_meta_info.py writes it)
        [{"index": 7, "output_path": "...", "edit_instruction": "...", "physics_category": "Optics",
          "physics_law": "Reflection", "edit_operation": "remove",
          "annotated_qa_pairs": [{"question": "...", "answer": "No", "box": {"x": 1, "y": 2, "width": 3, "height": 4}}]}]
    OUTPUTS/ the file name of output_path, or 00007.jpg, 0007.jpg, 7.jpg (or .png, .jpeg, .webp)

The judge sees the marked part alone, 20 pixels wider on each side, scaled to 1024 pixels. An image is worth the share
of its questions that came out right; laws and the overall are means over images. The benchmark's programs count a
failed call as a wrong answer; here it is unscored. Their PSNR of unedited regions is not computed here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from rationalrewards_core.errors import ConfigError
from rationalrewards_core.messages import defused

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
)
from .replies import as_yes_or_no, yes_or_no
from .wording import BenchmarkWording, find_file, official_file, our_texts, python_literals, text_of

TABLE: Final = "meta_info.json"
KEYS: Final = ("index", "edit_instruction", "physics_category", "physics_law", "edit_operation", "annotated_qa_pairs")
OFFICIAL: Final = "PicaEval_gpt.py"
LAWS: Final = Sheet("physics laws", "images")
CATEGORIES: Final = Sheet("physics categories")
OPERATIONS: Final = Sheet("edit operations")
SIDES: Final = ("x", "y", "width", "height")


def load(setup: Setup) -> Expected:
    table, path = _table(setup.benchmark)
    wording = _wording(setup)
    roots = ImageRoots([*setup.images, path.parent])
    left_out: Counter[str] = Counter()
    outputs = [_output(row, f"{path}, entry {n}", setup, wording, roots, left_out) for n, row in enumerate(table)]
    return Expected(outputs=[output for output in outputs if output.questions], wording=wording, left_out=left_out)


def _table(benchmark: Path) -> tuple[list[Any], Path]:
    path = find_file((TABLE,), benchmark)
    if path is None:
        raise ConfigError(f"{benchmark} holds no {TABLE}; write it with PICABench's prepare_meta_info.py.")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is no JSON.") from error
    if not isinstance(table, list) or not table:
        raise ConfigError(f"{path} is not PICA-Bench's: it must be a list of edits.")
    return table, path


def _wording(setup: Setup) -> BenchmarkWording:
    path = official_file(setup.prompts, (OFFICIAL,), setup.checkout, setup.benchmark)
    if path is None:
        return BenchmarkWording({"form": our_texts("pica")["form"]}, "ours")
    return BenchmarkWording({"form": text_of(python_literals(path), "json_instruction", path)}, "official")


def _output(
    row: Any, where: str, setup: Setup, wording: BenchmarkWording, roots: ImageRoots, left_out: Counter[str]
) -> Output:
    missing = [name for name in KEYS if not isinstance(row, dict) or name not in row]
    if missing:
        raise ConfigError(f"{where} is not PICA-Bench's: it lacks {missing[0]!r} (it needs {', '.join(KEYS)}).")
    index = row["index"]
    if isinstance(index, bool) or not isinstance(index, int):
        raise ConfigError(f"{where} is not PICA-Bench's: its index {index!r} is no whole number.")
    source = roots.reference(str(row.get("input_path") or ""))
    return Output(
        key=str(index),
        request=str(row["edit_instruction"]),
        path=_image_of(setup.outputs, index, row.get("output_path")),
        sources=() if source is None else (source,),
        places=(
            SheetLine(LAWS, str(row["physics_law"])),
            SheetLine(CATEGORIES, str(row["physics_category"])),
            SheetLine(OPERATIONS, str(row["edit_operation"])),
        ),
        questions=tuple(_questions(row["annotated_qa_pairs"], where, wording, left_out)),
    )


def _image_of(outputs: Path, index: int, name: Any) -> Path | None:
    stems = [f"{index:05d}", f"{index:04d}", str(index)]
    if isinstance(name, str) and name:
        stems.insert(0, Path(name.replace("\\", "/")).stem)
    return image_named(outputs, *stems)


def _questions(
    table: Any, where: str, wording: BenchmarkWording, left_out: Counter[str]
) -> Iterator[BenchmarkQuestion]:
    """Questions of one edit; the table holds a list of them, or a list under each kind."""
    lists = list(table.values()) if isinstance(table, dict) else [table]
    if not all(isinstance(one, list) for one in lists):
        raise ConfigError(f"{where} is not PICA-Bench's: annotated_qa_pairs must be a list of questions.")
    for number, row in enumerate(row for one in lists for row in one):
        if not isinstance(row, dict) or not isinstance(row.get("question"), str) or "answer" not in row:
            raise ConfigError(f"{where} is not PICA-Bench's: a question needs 'question', 'answer' and 'box'.")
        expected, box = as_yes_or_no(row["answer"]), _box(row.get("box"))
        if expected is None or box is None:
            left_out["a question without a box" if box is None else "a question whose answer is not yes or no"] += 1
            continue
        text = defused(row["question"]) + wording.texts["form"]
        yield BenchmarkQuestion(
            name=f"question {number}",
            parts=(text, QuestionPicture(of="output", box=box)),
            read=partial(yes_or_no, expected),
        )


def _box(box: Any) -> tuple[float, float, float, float] | None:
    sides = [box.get(side) for side in SIDES] if isinstance(box, dict) else []
    if len(sides) != 4 or not all(isinstance(side, int | float) and side == side for side in sides):
        return None
    x, y, width, height = (float(side) for side in sides)
    return x, y, width, height


def marks(output: Output, answers: Mapping[str, Scores]) -> Sequence[Scores]:
    """The share of right answers, at each place."""
    right = [answers[question.name][0] for question in output.questions]
    return [(100.0 * sum(right) / len(right),)] * len(output.places)


PICA: Final = Suite(
    name="pica",
    title="PICA-Bench",
    protocol="Andrew0613/PICABench 0514acd of 2025-11-05 (PICAEval)",
    judges=("gpt-5", "Qwen2.5-VL-72B-Instruct"),
    columns=("right, %",),
    scale="0 to 100",
    complete=900,
    load=load,
    marks=marks,
)
