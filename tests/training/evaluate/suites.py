"""For the tests: small copies of four generation benchmarks, file for file as they are published, and images for them.

The prompt files have the published names, keys and marks, with words of our own.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

KINDS = ("replace", "add", "adjust", "remove", "style", "action", "extract", "background", "compose")


def picture(shade: int, size: tuple[int, int] = (24, 16)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (shade % 256, 40, 120)).save(buffer, format="PNG")
    return buffer.getvalue()


def put(path: Path, shade: int, size: tuple[int, int] = (24, 16)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(shade, size))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


EDITS: dict[str, dict[str, Any]] = {
    "1082": {"id": "animal/1.jpg", "prompt": "Add a hat.", "edit_type": "add"},
    "1068": {"id": "animal/2.jpg", "prompt": "Add a red ball.", "edit_type": "add"},
    "673": {"id": "style/3.jpg", "prompt": "Make it a woodcut.", "edit_type": "style"},
    "21": {"id": "style/4.jpg", "prompt": "Remove the lamp.", "edit_type": "remove"},
}


def imgedit(folder: Path, *, prompts: bool = True, edits: dict[str, Any] | None = None) -> tuple[Path, Path]:
    """(benchmark, outputs): `basic_edit.json`, `prompts.json`, and the unpacked `Benchmark/singleturn`."""
    table = EDITS if edits is None else edits
    write(folder / "Basic" / "basic_edit.json", json.dumps(table))
    if prompts:
        asked = "Grade the {} edit.\nCompliance: A number from 1 to 5.\nediting instruction is : <edit_prompt>.\n"
        write(folder / "Basic" / "prompts.json", json.dumps({kind: asked.format(kind) for kind in KINDS}))
    for number, (key, row) in enumerate(EDITS.items()):
        put(folder / "Benchmark" / "singleturn" / row["id"], number)
        put(folder / "made" / f"{key}.png", 100 + number)
    return folder, folder / "made"


def gedit_rows() -> list[dict[str, Any]]:
    rows = []
    for number, (kind, language, shared) in enumerate(
        (
            ("color_alter", "en", True),
            ("color_alter", "en", False),
            ("subject-add", "en", True),
            ("ps_human", "cn", True),
        )
    ):
        image = {"bytes": picture(number, (48, 32)), "path": None}
        rows.append(
            {
                "key": f"{number:032x}", "task_type": kind, "instruction": f"instruction {number}",
                "instruction_language": language, "input_image": image, "input_image_raw": image,
                "Intersection_exist": shared,
            }
        )  # fmt: skip
    return rows


def gedit(folder: Path, *, prompts: bool = True, rows: list[dict[str, Any]] | None = None) -> tuple[Path, Path]:
    """(benchmark, outputs): one Parquet file, `viescore/vie_prompts.py`, and `fullset/TASK/LANGUAGE/KEY.png`."""
    import pyarrow
    import pyarrow.parquet

    (folder / "data").mkdir(parents=True, exist_ok=True)
    table = pyarrow.Table.from_pylist(gedit_rows() if rows is None else rows)
    pyarrow.parquet.write_table(table, folder / "data" / "train-00000-of-00001.parquet")
    if prompts:
        texts = {
            "_context_no_delimit": 'Answer as {"score" : [...], "reasoning" : "..."}',
            "_prompts_0shot_two_image_edit_rule": "Two images.",
            "_prompts_0shot_tie_rule_SC": "Editing instruction: <instruction>",
            "_prompts_0shot_rule_PQ": "One image.",
        }
        lines = [f'{name} = """{text}"""' for name, text in texts.items()]
        write(folder / "viescore" / "vie_prompts.py", "\n\n".join(lines))
    for number, row in enumerate(gedit_rows()):
        place = folder / "made" / "fullset" / row["task_type"] / row["instruction_language"]
        put(place / f"{row['key']}.png", 100 + number)
        put(place / f"{row['key']}_SRCIMG.png", number, (48, 32))
    return folder, folder / "made"


POINTS: list[tuple[str, list[str]]] = [
    ("two pandas in ink", ["Style", "Attribute - Color"]),
    ("a small red car", ["Attribute - Size", "Attribute - Color"]),
]
POINTS_ZH = [("水墨熊猫", ["风格", "属性-颜色"]), ("一辆小红车", ["属性-大小", "属性-颜色"])]
EVAL_COMMON = '''
import os
EXPLANATION_DICT_EN = {"Style": "styles", "Attribute - Color": "colours", "Attribute - Size": "sizes"}
EXPLANATION_DICT_ZH = {"风格": "风格说明", "属性-颜色": "颜色说明", "属性-大小": "大小说明"}
SYSTEM_PROMPT_EN_TEMPLATE = """Prompt 「{prompt}」, points {testpoint}. {explanation} {test_explanation}
<score>[...]</score>"""
SYSTEM_PROMPT_ZH_TEMPLATE = """提示词「{prompt}」，考点 {testpoint}。{explanation} {test_explanation} <score>[]</score>"""
LANG_CONFIGS = {
    "en": {"explanation_dict": EXPLANATION_DICT_EN, "checkpoint_header": "Points",
           "checkpoint_desc_header": "Descriptions"},
    "zh": {"explanation_dict": EXPLANATION_DICT_ZH, "checkpoint_header": "说明", "checkpoint_desc_header": "描述"},
}
raise SystemExit("this file must never be run")
'''


def unigen_row(index: int, prompt: str, points: list[str], language: str = "en") -> dict[str, Any]:
    names = {"en": ("Testpoints", "Testpoint Description"), "zh": ("考点", "考点对应描述")}[language]
    themes = {"Primary Categories": "Art", "Subjects": "Animal"} if language == "en" else {"一级垂类": "艺术"}
    table = {**themes, names[0]: points, names[1]: [f"cue of {point}" for point in points]}
    cell = json.dumps(table, ensure_ascii=False)
    return {"index": index, f"prompt_{language}": prompt, f"sub_dims_{language}": cell}


def unigenbench(
    folder: Path, *, prompts: bool = True, rows: list[dict[str, Any]] | None = None, samples: int = 4
) -> tuple[Path, Path]:
    """(benchmark, outputs): `data/test_prompts_*.csv`, `eval/src/eval_common.py`, and `INDEX_NUMBER.png`."""
    for part, language, asked in (("en", "en", POINTS), ("zh", "zh", POINTS_ZH)):
        made = [unigen_row(index, *row, language) for index, row in enumerate(asked)]
        table = made if rows is None or part == "zh" else rows
        path = folder / "data" / f"test_prompts_{part}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
    if prompts:
        write(folder / "eval" / "src" / "eval_common.py", EVAL_COMMON)
    for index in range(len(POINTS)):
        for number in range(samples):
            put(folder / "made" / f"{index}_{number}.png", 100 + 10 * index + number)
    return folder, folder / "made"


def box(x: float, y: float, width: float = 200.0, height: float = 100.0) -> dict[str, float]:
    return {"x": x, "y": y, "width": width, "height": height}


def pica_rows() -> list[dict[str, Any]]:
    asked = [
        ("Optics", "Reflection", [("Is it mirrored?", "Yes"), ("Is the tulip there?", "No")]),
        ("Optics", "Reflection", [("Is it in the water?", "Yes.")]),
        ("Mechanics", "Causality", [("Did it fall?", "no"), ("Is it broken?", "Yes"), ("Is it on the floor?", "Yes")]),
    ]
    return [
        {
            "index": index, "input_path": f"input_img/{index:05d}.jpg", "output_path": f"outputs/{index:05d}.jpg",
            "edit_instruction": f"remove tulip {index}", "physics_category": category, "physics_law": law,
            "edit_operation": "remove", "difficulty": "superficial",
            "annotated_qa_pairs": [{"question": q, "answer": a, "box": box(100 + index, 50)} for q, a in questions],
            "edit_area": [{**box(1, 2), "id": "x", "order": 1}],
        }
        for index, (category, law, questions) in enumerate(asked)
    ]  # fmt: skip


def pica(folder: Path, *, prompts: bool = True, rows: list[dict[str, Any]] | None = None) -> tuple[Path, Path]:
    """(benchmark, outputs): `meta_info.json`, `PicaEval_gpt.py`, and `00000.jpg`."""
    write(folder / "meta_info.json", json.dumps(pica_rows() if rows is None else rows))
    if prompts:
        asked = 'def create(question):\n    json_instruction = (\n        "\\n\\nAs JSON: "\n        \'{"answer": "Yes"}\'\n    )\n'
        write(folder / "PicaEval_gpt.py", asked)
    for index in range(3):
        put(folder / "input_img" / f"{index:05d}.jpg", index, (64, 32))
        put(folder / "made" / f"{index:05d}.jpg", 100 + index, (64, 32))
    return folder, folder / "made"


SUITES = {"imgedit": imgedit, "gedit": gedit, "unigenbench": unigenbench, "pica": pica}
