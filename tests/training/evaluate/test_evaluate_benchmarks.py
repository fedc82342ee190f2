"""Every benchmark by its exact columns, each with a wrong-schema test; Parquet lists; labels; what is left out."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from rationalrewards_core.comparison import Verdict
from rationalrewards_core.errors import ConfigError
from training.data.benchmarks import BENCHMARKS, images_of, import_benchmark
from training.data.importers.intake import Intake
from training.data.labelled_pairs import LabelledPair, PairFolder
from training.data.store import ImageRoots, ImageStore
from training.evaluate.__main__ import main


def cell(shade: int) -> dict[str, Any]:
    """An image as Parquet tables hold it."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (shade, 10, 200)).save(buffer, format="PNG")
    return {"bytes": buffer.getvalue(), "path": None}


LEFT, RIGHT, SOURCE = cell(1), cell(2), cell(3)
MODELS = {"left_model": "m1", "right_model": "m2"}
ROWS: dict[str, dict[str, Any]] = {
    "genai-t2i": {"prompt": "a cat", "left_image": LEFT, "right_image": RIGHT, "vote_type": "rightvote", **MODELS},
    "genai-edit": {
        "source_prompt": "a cat", "target_prompt": "a dog", "instruct_prompt": "turn it into a dog",
        "source_image": SOURCE, "left_output_image": LEFT, "right_output_image": RIGHT, "vote_type": "rightvote", **MODELS,
    },
    "mmrb2": {
        "pair_id": "p1", "prompt_text": "a cat", "prompt_images": np.array([SOURCE], dtype=object),
        "response_a_images": np.array([LEFT], dtype=object), "response_b_images": np.array([RIGHT], dtype=object),
        "chosen": "B", "response_a_model": "m1", "response_b_model": "m2",
    },
    "erb-tiger": {
        "id": "g1_0", "dataset": "3pair", "instruction": "make it red", "source_image": SOURCE, "candidate_1": LEFT,
        "candidate_2": RIGHT, "model_1": "m1", "model_2": "m2", "ranking": "C>A", "comparison_type": "AvsC",
        "instruction_following_1": 2.0, "instruction_following_2": 4.0, "visual_quality_1": float("nan"),
        "visual_quality_2": 3.0,
    },
    "erb-editscore": {
        "key": ["k1", "k2"], "instruction": "make it red", "input_image": SOURCE,
        "output_images": np.array([RIGHT, LEFT], dtype=object), "task_type": "color", "dimension": "prompt_following",
    },
}  # fmt: skip
"""One row of each benchmark with images inside; RIGHT is preferred in each."""


def converted(name: str, folder: Path, *rows: dict[str, Any]) -> tuple[list[LabelledPair], Intake]:
    intake = Intake(ImageStore(folder), ImageRoots([]))
    return list(BENCHMARKS[name].convert(iter(rows), intake)), intake


@pytest.mark.parametrize("name", ROWS)
def test_the_preferred_image_is_the_preferred_one(name: str, tmp_path: Path) -> None:
    (labelled,), _ = converted(name, tmp_path, ROWS[name])
    pair = labelled.pair
    better = pair.second if pair.preference is Verdict.B else pair.first
    assert pair.preference is not Verdict.TIE
    assert ImageStore(tmp_path).read(better) == RIGHT["bytes"]
    assert labelled.split == "test"
    assert bool(pair.sources) == (name not in ("genai-t2i",))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_another_schema_is_one_sentence(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"caption": "x", "label": 1}) + "\n")
    assert main(["import", name, str(tmp_path / "rows.jsonl"), "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    assert f"is not {name}: it lacks the column {BENCHMARKS[name].required[0]!r} (it has caption, label)." in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_required_column_is_missed(name: str) -> None:
    required = BENCHMARKS[name].required
    BENCHMARKS[name].check(required, "x")
    for column in required:
        with pytest.raises(ConfigError, match=f"lacks the column '{column}'"):
            BENCHMARKS[name].check([c for c in required if c != column], "x")


@pytest.mark.parametrize("name", ["genai-t2i", "genai-edit"])
@pytest.mark.parametrize("vote", ["tievote", "bothbad_vote"])
def test_both_kinds_of_ties_are_ties(name: str, vote: str, tmp_path: Path) -> None:
    (labelled,), _ = converted(name, tmp_path, ROWS[name] | {"vote_type": vote})
    assert labelled.pair.preference is Verdict.TIE


def test_an_unknown_vote_is_left_out_and_counted(tmp_path: Path) -> None:
    """The reference called everything else a tie."""
    pairs, intake = converted("genai-t2i", tmp_path, ROWS["genai-t2i"], ROWS["genai-t2i"] | {"vote_type": "nan"})
    assert len(pairs) == 1
    assert intake.skipped == {"unknown vote": 1}


class TestLists:
    """Parquet list columns come as numpy arrays from pandas; the reference saw no images in them and skipped all."""

    @pytest.mark.parametrize(
        ("value", "count"),
        [
            (np.array([LEFT, RIGHT], dtype=object), 2),
            ([LEFT], 1),
            (LEFT, 1),
            (LEFT["bytes"], 1),
            (None, 0),
            (np.array([]), 0),
        ],
    )
    def test_all_shapes_of_a_cell(self, value: Any, count: int) -> None:
        assert len(images_of(value)) == count

    def test_mmrb2_without_images_in_its_prompt_is_generation(self, tmp_path: Path) -> None:
        (labelled,), _ = converted("mmrb2", tmp_path, ROWS["mmrb2"] | {"prompt_images": np.array([], dtype=object)})
        assert labelled.pair.kind == "generation"

    def test_two_images_in_a_response_are_left_out(self, tmp_path: Path) -> None:
        row = ROWS["mmrb2"] | {"response_a_images": np.array([LEFT, RIGHT], dtype=object)}
        pairs, intake = converted("mmrb2", tmp_path, row)
        assert not pairs
        assert intake.skipped == {"not one image in each response": 1}


class TestEditRewardBenches:
    def test_the_letters_are_those_of_the_comparison(self, tmp_path: Path) -> None:
        (labelled,), _ = converted("erb-tiger", tmp_path, ROWS["erb-tiger"])
        assert labelled.pair.preference is Verdict.B
        row = ROWS["erb-tiger"] | {"comparison_type": "AvsB"}
        _, intake = converted("erb-tiger", tmp_path, row)
        assert intake.skipped == {"unknown label": 1}

    def test_tables_without_a_comparison_type_name_a_and_b(self, tmp_path: Path) -> None:
        row = {k: v for k, v in ROWS["erb-tiger"].items() if k != "comparison_type"}
        (labelled,), _ = converted("erb-tiger", tmp_path, row | {"ranking": "A=B"})
        assert labelled.pair.preference is Verdict.TIE

    def test_ratings_are_kept_where_both_are_numbers(self, tmp_path: Path) -> None:
        (labelled,), _ = converted("erb-tiger", tmp_path, ROWS["erb-tiger"])
        assert labelled.ratings == {"text_faithfulness": (2.0, 4.0)}

    def test_editscore_shuffles_sides_and_rates_its_dimension(self, tmp_path: Path) -> None:
        rows = [ROWS["erb-editscore"] | {"instruction": f"make it {i}"} for i in range(40)]
        pairs, _ = converted("erb-editscore", tmp_path, *rows)
        sides = {labelled.pair.preference for labelled in pairs}
        assert sides == {Verdict.A, Verdict.B}
        for labelled in pairs:
            first, second = labelled.ratings["text_faithfulness"]
            assert (first > second) == (labelled.pair.preference is Verdict.A)

    def test_an_unknown_dimension_is_left_out(self, tmp_path: Path) -> None:
        _, intake = converted("erb-editscore", tmp_path, ROWS["erb-editscore"] | {"dimension": "style"})
        assert intake.skipped == {"unknown dimension 'style'": 1}


class TestByPath:
    """HPDv3 and ImageReward name their images by path."""

    @pytest.fixture
    def pictures(self, tmp_path: Path) -> Path:
        folder = tmp_path / "pictures"
        folder.mkdir()
        for number, name in enumerate(("1.png", "2.png", "3.png")):
            (folder / name).write_bytes(cell(number)["bytes"])
        return folder

    def test_hpdv3_shuffles_the_winner_that_is_always_first(self, pictures: Path, tmp_path: Path) -> None:
        rows = [
            {"prompt": f"cat {i}", "path1": "1.png", "path2": "2.png", "model1": "a", "model2": "b", "confidence": 0.9}
            for i in range(30)
        ]
        (tmp_path / "test.json").write_text(json.dumps(rows))
        out = tmp_path / "out"
        count, intake = import_benchmark("hpdv3-test", str(tmp_path / "test.json"), out, [pictures])
        assert (count, intake.skipped.total()) == (30, 0)
        folder = PairFolder(out)
        winners = set()
        for labelled in folder.pairs("test"):
            pair = labelled.pair
            winners.add(pair.preference)
            better = folder.candidates(pair)[0 if pair.preference is Verdict.A else 1]
            assert better.getpixel((0, 0))[0] == 0  # 1.png
        assert winners == {Verdict.A, Verdict.B}

    def test_imagereward_makes_pairs_of_ranks(self, pictures: Path, tmp_path: Path) -> None:
        rows = [
            {"image": name, "prompt_id": "p", "prompt": "a cat", "rank": rank, "overall_rating": 8 - rank}
            for name, rank in (("1.png", 1), ("2.png", 2), ("3.png", 2))
        ]
        (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
        count, _ = import_benchmark("imagereward-test", str(tmp_path / "test.jsonl"), tmp_path / "out", [pictures])
        preferences = [labelled.pair.preference for labelled in PairFolder(tmp_path / "out").pairs()]
        assert count == 3
        assert preferences.count(Verdict.TIE) == 1


def test_parquet_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow")
    import pyarrow
    import pyarrow.parquet

    row = ROWS["mmrb2"] | {
        name: [ROWS["mmrb2"][name][0]] for name in ("prompt_images", "response_a_images", "response_b_images")
    }
    bad = row | {"pair_id": "p2", "chosen": "C"}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row, bad]), tmp_path / "edit.parquet")
    assert main(["import", "mmrb2", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "1 pairs of mmrb2" in shown
    assert "left out: 1 unknown label (first" in shown
    assert "row 2: 'C')" in shown
    assert "CC-BY-NC-4.0" in shown
    (labelled,) = PairFolder(tmp_path / "out").pairs()
    assert labelled.pair.models == ("m1", "m2")


def test_nothing_imported_is_an_error(tmp_path: Path) -> None:
    row = ROWS["genai-t2i"] | {"left_image": None, "right_image": None}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    with pytest.raises(ConfigError, match=r"Not one row .* gave a pair: 1 no image"):
        import_benchmark("genai-t2i", str(tmp_path / "rows.jsonl"), tmp_path / "out", [])
