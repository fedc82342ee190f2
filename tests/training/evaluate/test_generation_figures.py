"""Aggregation of each benchmark against arithmetic by hand, what is unscored or missing, and the tables' warnings."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("pyarrow")

from tests.training.evaluate import suites
from training.evaluate.generation.answers import BenchmarkAnswer
from training.evaluate.generation.command import SUITES, load
from training.evaluate.generation.figures import FigureLine, Standing, Table, standing, tables_of
from training.evaluate.generation.outputs import Output, Setup, Suite
from training.evaluate.generation.tables import About, markdown, warnings_of, write_tables

Given = dict[str, list[tuple[float, ...] | str]]
"""Output -> the scores of each of its questions, in order, or the reason why there are none."""


def outputs_of(name: str, tmp_path: Path, **places: Any) -> list[Output]:
    benchmark, made = suites.SUITES[name](tmp_path)
    return load(SUITES[name], Setup(benchmark=benchmark, outputs=made, out=tmp_path / "o", **places), None).outputs


def answered(outputs: list[Output], given: Given) -> list[BenchmarkAnswer]:
    found = []
    for output in outputs:
        for question, said in zip(output.questions, given.get(output.key, []), strict=False):
            scores, reason = (None, said) if isinstance(said, str) else (said, "")
            key = f"{output.key} {question.name}"
            found.append(
                BenchmarkAnswer(key=key, output=output.key, question=question.name, scores=scores, reason=reason)
            )
    return found


def tables(name: str, outputs: list[Output], given: Given) -> tuple[Standing, dict[str, dict[str, FigureLine]]]:
    found = standing(SUITES[name], outputs, answered(outputs, given), rubric=False)
    made = tables_of(outputs, found, len(SUITES[name].columns))
    return found, {table.sheet.name: {line.category: line for line in table.lines} for table in made}


def values(line: FigureLine) -> list[float]:
    return [mean.value for mean in line.means]


def test_imgedit_is_the_mean_of_the_kinds_of_edits(tmp_path: Path) -> None:
    outputs = outputs_of("imgedit", tmp_path)
    given: Given = {"1082": [(5, 4, 3)], "1068": [(2, 2, 2)], "673": [(3, 3, 3)], "21": [(1, 1, 1)]}
    _, sheets = tables("imgedit", outputs, given)
    kinds = sheets["kinds of edits"]
    assert {name: values(line) for name, line in kinds.items()} == {
        "add": [3.0], "style": [3.0], "remove": [1.0], "overall": [pytest.approx(7 / 3)],
    }  # fmt: skip


def test_gedit_takes_the_lower_scores_and_their_geometric_mean(tmp_path: Path) -> None:
    outputs = outputs_of("gedit", tmp_path)
    given: Given = {
        outputs[0].key: [(9, 4), (8, 6)],  # color_alter: SC 4, PQ 6, O sqrt 24
        outputs[1].key: [(8, 10), (2, 9)],  # color_alter, not in the intersection: SC 8, PQ 2, O 4
        outputs[2].key: [(10, 9), (9, 10)],  # subject-add: SC 9, PQ 9, O 9
    }
    _, sheets = tables("gedit", outputs, given)
    alter, add = (6.0, 4.0, (math.sqrt(24) + 4) / 2), (9.0, 9.0, 9.0)
    whole = sheets["fullset, en"]
    assert values(whole["color_alter"]) == pytest.approx(alter)
    assert values(whole["overall"]) == pytest.approx([(a + b) / 2 for a, b in zip(alter, add, strict=True)])
    shared = sheets["intersection, en"]
    assert values(shared["color_alter"]) == pytest.approx((4.0, 6.0, math.sqrt(24)))
    assert shared["overall"].scored == 2


def test_unigenbench_pools_testpoints_and_averages_dimensions(tmp_path: Path) -> None:
    outputs = outputs_of("unigenbench", tmp_path, per_prompt=2)
    given: Given = {"en/0_0": [(1, 0)], "en/0_1": [(1, 1)], "en/1_0": [(0, 1)], "en/1_1": [(0, 0)]}
    _, sheets = tables("unigenbench", outputs, given)
    primary = sheets["primary dimensions, en"]
    assert values(primary["Style"]) == [100.0]
    assert values(primary["Attribute"]) == [pytest.approx(100 * 2 / 6)]  # colours 0 1 1 0, sizes 0 0
    assert values(primary["overall"]) == [pytest.approx((100 + 100 / 3) / 2)]
    assert (primary["Attribute"].scored, primary["Style"].scored) == (6, 2)
    fine = sheets["testpoints, en"]
    assert {k: values(v) for k, v in fine.items()} == {
        "Style": [100.0], "Attribute - Color": [50.0], "Attribute - Size": [0.0],
    }  # fmt: skip


def test_pica_is_the_mean_over_images_of_their_shares(tmp_path: Path) -> None:
    outputs = outputs_of("pica", tmp_path)
    given: Given = {"0": [(1,), (0,)], "1": [(1,)], "2": [(0,), (0,), (0,)]}
    _, sheets = tables("pica", outputs, given)
    laws = sheets["physics laws"]
    assert {name: values(line) for name, line in laws.items()} == {
        "Reflection": [75.0], "Causality": [0.0], "overall": [50.0],
    }  # fmt: skip
    assert "overall" not in sheets["edit operations"]


class TestFailures:
    def test_an_unscored_image_is_in_no_mean_and_is_counted(self, tmp_path: Path) -> None:
        outputs = outputs_of("imgedit", tmp_path)
        given: Given = {"1082": [(5, 5, 5)], "1068": ["truncated"], "673": [(3, 3, 3)], "21": [(1, 1, 1)]}
        found, sheets = tables("imgedit", outputs, given)
        add, overall = sheets["kinds of edits"]["add"], sheets["kinds of edits"]["overall"]
        assert (values(add), add.scored, add.unscored, add.missing) == ([5.0], 1, 1, 0)
        assert (values(overall), overall.scored, overall.unscored) == ([3.0], 3, 1)
        assert found.counted == Counter(truncated=1)

    def test_a_category_without_a_score_leaves_the_overall_blank(self, tmp_path: Path) -> None:
        outputs = outputs_of("imgedit", tmp_path)
        given: Given = {"1082": [(5, 5, 5)], "1068": [(5, 5, 5)], "673": [(3, 3, 3)], "21": ["truncated"]}
        _, sheets = tables("imgedit", outputs, given)
        kinds = sheets["kinds of edits"]
        assert math.isnan(kinds["remove"].means[0].value)
        assert math.isnan(kinds["overall"].means[0].value)
        assert values(kinds["add"]) == [5.0]

    def test_half_the_answers_are_no_score(self, tmp_path: Path) -> None:
        outputs = outputs_of("gedit", tmp_path)
        given: Given = {outputs[0].key: [(9, 9), "score_out_of_scale"], outputs[1].key: [(9, 9)]}
        found, sheets = tables("gedit", outputs, given)
        assert found.reasons == {
            outputs[0].key: "score_out_of_scale", outputs[1].key: "not_asked", outputs[2].key: "not_asked",
        }  # fmt: skip
        assert sheets["fullset, en"]["color_alter"].unscored == 2

    def test_a_missing_image_has_its_own_name(self, tmp_path: Path) -> None:
        suites.imgedit(tmp_path)
        (tmp_path / "made" / "1068.png").unlink()
        setup = Setup(benchmark=tmp_path, outputs=tmp_path / "made", out=tmp_path / "o")
        outputs = load(SUITES["imgedit"], setup, None).outputs
        given: Given = {"1082": [(5, 5, 5)], "673": [(3, 3, 3)], "21": [(1, 1, 1)]}
        found, sheets = tables("imgedit", outputs, given)
        add = sheets["kinds of edits"]["add"]
        assert (add.scored, add.unscored, add.missing) == (1, 0, 1)
        assert (found.missing, found.reasons) == ({"1068"}, {})

    def test_nothing_scored_has_no_number(self, tmp_path: Path) -> None:
        _, sheets = tables("pica", outputs_of("pica", tmp_path), {})
        assert all(math.isnan(line.means[0].low) for line in sheets["physics laws"].values())


class TestIntervals:
    def test_they_hold_the_mean(self, tmp_path: Path) -> None:
        outputs = outputs_of("pica", tmp_path)
        _, sheets = tables("pica", outputs, {"0": [(1,), (0,)], "1": [(1,)], "2": [(0,), (0,), (1,)]})
        overall = sheets["physics laws"]["overall"].means[0]
        assert overall.low < overall.value < overall.high
        assert overall.high == pytest.approx(100.0)

    def test_images_of_one_prompt_are_drawn_together(self, tmp_path: Path) -> None:
        """Four images of one prompt are one thing that was sampled: alone they say nothing of its spread."""
        outputs = [output for output in outputs_of("unigenbench", tmp_path) if output.unit == "en/0"]
        given: Given = {"en/0_0": [(1, 0)], "en/0_1": [(0, 0)], "en/0_2": [(1, 1)], "en/0_3": [(0, 0)]}
        _, sheets = tables("unigenbench", outputs, given)
        style = sheets["primary dimensions, en"]["Style"].means[0]
        assert (style.value, style.low, style.high) == (50.0, 50.0, 50.0)

    def test_they_are_the_same_every_time(self, tmp_path: Path) -> None:
        outputs = outputs_of("pica", tmp_path)
        given: Given = {"0": [(1,), (0,)], "1": [(1,)], "2": [(0,), (0,), (1,)]}
        assert tables("pica", outputs, given)[1] == tables("pica", outputs, given)[1]


def about(name: str = "imgedit", **changes: Any) -> About:
    settings: dict[str, Any] = {
        "suite": SUITES[name], "judge": "server:gpt", "models": ("gpt-4o-2024-11-20",), "sampling": "temperature 0", "asked": "protocol",
        "wording": "official (12345678)", "outputs": "mine", "expected": 737, "left_out": Counter(),
    }  # fmt: skip
    return About(**{**settings, **changes})


class TestWarnings:
    def test_a_whole_run_by_the_published_judge_has_none(self) -> None:
        assert warnings_of(about(), Standing()) == []
        assert warnings_of(about("gedit", models=("gpt-4.1-2025-04-14",), expected=1212), Standing()) == []

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ({"models": ("miniature-teacher",)}, "judged by gpt-4o or gpt-4.1; these were judged by miniature-teacher"),
            ({"models": ("gpt-4o", "other")}, "these were judged by other and cannot be compared"),
            ({"wording": "ours (12345678)"}, "The questions are in our words"),
            ({"asked": "rubric"}, "This is not ImgEdit-Bench, single turn's protocol"),
            ({"expected": 700}, "has 737 images in each part; here are 700"),
            ({"expected": 10, "limit": 10}, "Only the first 10 images"),
            ({"stopped": "The server is gone."}, "The run ended early: The server is gone."),
        ],
    )
    def test_each_reason_not_to_compare(self, changes: dict[str, Any], told: str) -> None:
        (warning,) = warnings_of(about(**changes), Standing())
        assert told in warning

    def test_what_is_not_in_the_means(self) -> None:
        found = Standing(reasons={"1": "truncated"}, missing={"2", "3"})
        assert warnings_of(about(), found) == [
            "2 of 737 images are missing; means are over the others.",
            "1 images are unscored; they are in no mean.",
        ]

    def test_a_served_name_with_an_owner(self) -> None:
        made = about("unigenbench", models=("CodeGoat24/UniGenBench-EvalModel-qwen3vl-32b-v1",), expected=2400)
        assert warnings_of(made, Standing()) == []


def filled_in(suite: Suite, tmp_path: Path) -> tuple[Standing, list[Table]]:
    outputs = outputs_of(suite.name, tmp_path)
    given: Given = {"0": [(1,), (0,)], "1": [(1,)], "2": [(0,), "no_choice", (1,)]}
    found = standing(suite, outputs, answered(outputs, given), rubric=False)
    return found, tables_of(outputs, found, 1)


def test_every_table_names_judge_model_and_protocol(tmp_path: Path) -> None:
    found, made = filled_in(SUITES["pica"], tmp_path)
    told = about("pica", models=("gpt-5-2025-08-07",), expected=3, left_out=Counter({"a question without a box": 2}))
    text = write_tables(tmp_path, told, found, made)
    assert text == markdown(told, found, made) == (tmp_path / "table.md").read_text(encoding="utf-8")
    named = "Judge: server:gpt (model: gpt-5-2025-08-07). Protocol: Andrew0613/PICABench 0514acd of 2025-11-05"
    assert text.count("\n## ") == text.count(named) == 3
    assert "- images: 3 expected, 2 scored, 1 unscored, 0 missing" in text
    assert "- judge: server:gpt (model: gpt-5-2025-08-07), temperature 0\n" in text
    assert "- unscored: no_choice 1" in text
    assert "- left out by us: a question without a box, 2" in text
    assert "| Causality |  |  | 0 | 1 | 0 |" in text
    assert "| Reflection | 75.00 | 50.00 to 100.00 | 2 | 0 | 0 |" in text
    assert "| **overall** (mean of the images) | 75.00 |" in text


def test_the_other_forms_hold_the_same(tmp_path: Path) -> None:
    found, made = filled_in(SUITES["pica"], tmp_path)
    write_tables(tmp_path, about("pica", expected=3), found, made)
    whole = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))
    assert (whole["scored"], whole["unscored"], whole["missing"]) == (2, {"no_choice": 1}, [])
    assert whole["warnings"]
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(whole["rows"]) == 6
    for row, said in zip(rows, whole["rows"], strict=True):
        assert row == {key: "" if value is None else str(value) for key, value in said.items()}
        assert (row["judge"], row["model"]) == ("server:gpt", "gpt-4o-2024-11-20")
    lost = next(row for row in whole["rows"] if row["category"] == "Causality")
    assert (lost["value"], lost["unscored"]) == (None, 1)
