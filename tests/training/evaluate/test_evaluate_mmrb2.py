"""MMRB2's own nested JSON: read by the keys its files have, refused by name where they are others."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("torch")

from rationalrewards_core.comparison import Verdict
from training.data.labelled_pairs import PairFolder
from training.evaluate.__main__ import main


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (shade, 10, 200)).save(buffer, format="PNG")
    return buffer.getvalue()


def response(model: str, *content: list[str]) -> dict[str, Any]:
    return {"model_name": model, "response_content": list(content)}


def edit_pair() -> dict[str, Any]:
    """One pair as `edit.json` holds it after the benchmark was built."""
    return {
        "id": "dreambench__1_m1_7105_m2_705",
        "prompt_content": [["text", "make the guitar red"], ["image", "input_images/guitar.jpg"]],
        "prompt_source": "dreambench",
        "prompt_metadata": {"id": 1185, "category": "guitar"},
        "response_a": response("m1", ["image", "images/p_0.jpg"]),
        "response_b": response("m2", ["image", "images/p_1.jpg"]),
        "chosen": "B",
        "human_annotations": [2, 1, 2],
    }


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """The folder that the benchmark's build leaves: tables beside `images/` and `input_images/`."""
    for number, name in enumerate(("input_images/guitar.jpg", "images/p_0.jpg", "images/p_1.jpg")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png(number * 50))
    return tmp_path


def imported(folder: Path, *pairs: dict[str, Any]) -> int:
    (folder / "edit.json").write_text(json.dumps({"pairs": list(pairs)}, indent=2))
    return main(["import", "mmrb2", str(folder / "edit.json"), "--out", str(folder / "out")])


def test_an_edit_is_read_whole(built: Path) -> None:
    assert imported(built, edit_pair()) == 0
    folder = PairFolder(built / "out")
    (labelled,) = folder.pairs("test")
    pair = labelled.pair
    assert (pair.request, pair.preference, pair.models) == ("make the guitar red", Verdict.B, ("m1", "m2"))
    assert pair.row == "dreambench__1_m1_7105_m2_705"
    request, (first, second) = folder.request(pair), folder.candidates(pair)
    assert [image.getpixel((0, 0))[0] for image in (*request.sources, first, second)] == [0, 50, 100]


def test_a_generation_has_no_source(built: Path) -> None:
    pair = edit_pair() | {"prompt_content": [["text", "a red guitar"], ["text", "on a chair"]], "chosen": "A"}
    assert imported(built, pair) == 0
    (labelled,) = PairFolder(built / "out").pairs()
    assert (labelled.pair.kind, labelled.pair.request) == ("generation", "a red guitar\non a chair")
    assert labelled.pair.preference is Verdict.A


def test_what_a_judge_of_images_cannot_see_is_left_out_and_counted(
    built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = edit_pair() | {"response_a": response("m1", ["image", "images/p_0.jpg"], ["text", "Here it is."])}
    two = edit_pair() | {"response_b": response("m2", ["image", "images/p_1.jpg"], ["image", "images/p_0.jpg"])}
    none = edit_pair() | {"response_b": response("m2", ["text", "The answer is 4."])}
    lost = edit_pair() | {"response_b": response("m2", ["image", "images/elsewhere.jpg"])}
    assert imported(built, edit_pair(), words, two, none, lost) == 0
    shown = capsys.readouterr().out
    assert "1 pairs of mmrb2" in shown
    assert "left out: 1 words in a response" in shown
    assert "left out: 2 not one image in each response" in shown
    assert "left out: 1 image not found" in shown


def without(*path: str) -> dict[str, Any]:
    pair = copy.deepcopy(edit_pair())
    table = pair
    for key in path[:-1]:
        table = table[key]
    del table[path[-1]]
    return pair


@pytest.mark.parametrize(
    ("pair", "told"),
    [
        (without("id"), "a pair lacks 'id' (it has chosen, human_annotations"),
        (without("response_b"), "a pair lacks 'response_b'"),
        (without("chosen"), "a pair lacks 'chosen'"),
        (without("response_a", "model_name"), "response_a of 'dreambench__1_m1_7105_m2_705' lacks 'model_name'"),
        (without("response_b", "response_content"), "lacks 'response_content' (it has model_name)"),
        (without("prompt_content"), "responses only; build the benchmark first"),
        (edit_pair() | {"prompt_content": "make it red"}, 'prompt_content must be a list of ["text", ...]'),
        (edit_pair() | {"response_a": "images/p_0.jpg"}, "response_a of 'dreambench__1_m1_7105_m2_705' is no object"),
    ],
)  # fmt: skip
def test_another_schema_is_one_sentence(
    pair: dict[str, Any], told: str, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert imported(built, pair) == 1
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_pairs_that_are_no_list(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (built / "edit.json").write_text('{"pairs": {"a": 1}}')
    assert main(["import", "mmrb2", str(built / "edit.json"), "--out", str(built / "out")]) == 1
    assert "its `pairs` is no list" in capsys.readouterr().err


def test_the_parquet_form_leaves_out_words_too(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {
        "pair_id": "p", "prompt_text": "a cat", "prompt_images": [], "chosen": "A",
        "response_a_text": "<image_1>", "response_a_images": ["images/p_0.jpg"], "response_a_model": "m1",
        "response_b_text": "<image_1>", "response_b_images": ["images/p_1.jpg"], "response_b_model": "m2",
    }  # fmt: skip
    rows = [row, row | {"pair_id": "q", "response_b_text": "<image_1> Here it is."}]
    (built / "flat.json").write_text(json.dumps(rows))
    assert main(["import", "mmrb2", str(built / "flat.json"), "--out", str(built / "out")]) == 0
    shown = capsys.readouterr().out
    assert "1 pairs of mmrb2" in shown
    assert "left out: 1 words in a response" in shown
