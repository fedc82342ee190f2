"""The nodes under ComfyUI's real V3 interface, with the shipped miniature as the judge."""

from __future__ import annotations

from typing import Any

import pytest

from tests.comfy.comfy_server import Comfy
from tests.comfy.inside import run_probe
from tests.nodes.test_pack import NODE_IDS


@pytest.fixture(scope="module")
def seen(comfy: Comfy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_probe(comfy, "nodes_api", tmp_path_factory.mktemp("nodes_api"))


@pytest.fixture(scope="module")
def results(seen: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = seen["results"]
    return found


def test_the_frontend_is_told_of_every_node(seen: dict[str, Any]) -> None:
    infos = seen["infos"]
    assert {name: info["display_name"] for name, info in infos.items()} == NODE_IDS
    for name, info in infos.items():
        rows = {**info["input"].get("required", {}), **info["input"].get("optional", {})}
        assert all(row[1]["tooltip"] for row in rows.values()), name
        assert all(info["output_tooltips"]), name
    assert infos["RR_RationalCritique"]["output_node"]
    assert infos["RR_MultiDimScore"]["output_is_list"] == [True] * 6 + [False] * 5


def test_a_clean_picture_is_praised_and_shown_on_a_card(results: dict[str, Any]) -> None:
    critique = results["RR_RationalCritique"]
    assert critique["args"][:2] == ["Critiques", [1.0, 1.0]]
    assert "It shows a large red circle left of a small blue square, as asked." in critique["args"][2]
    cards = critique["ui"]["rr_critique"]
    assert [card["reward"] for card in cards] == [1.0, 1.0]
    assert all(card["image"]["filename"].endswith(".webp") for card in cards)


def test_an_edit_is_judged_against_its_source(results: dict[str, Any]) -> None:
    dimensions = results["edited"]["ui"]["rr_critique"][0]["dimensions"]
    assert [d["key"] for d in dimensions][1] == "image_faithfulness"
    assert dimensions[0]["score"] == 4.0, "the circle is green now"


def test_scores_ranks_and_passes(results: dict[str, Any]) -> None:
    reward, text, source, quality, lettering, spread, passed, index, best, ranked, _ = results["RR_MultiDimScore"][
        "args"
    ]
    assert reward == [1.0, 1.0]
    assert text == quality == lettering == [4.0, 4.0]
    assert source == ["NaN", "NaN"]
    assert all(0.0 <= value < 0.05 for value in spread)
    assert (passed, index, best, ranked) == (True, 0, [1, 192, 192, 3], [2, 192, 192, 3])


def test_a_wrong_picture_refines_the_prompt_and_keeps_its_tag(results: dict[str, Any]) -> None:
    prompt, changed, comments, diff, negative = results["RR_PromptRefine"]["args"]
    assert changed is True
    assert prompt.startswith("exactly one small green triangle")
    assert prompt.endswith("<lora:a:1>")
    assert comments.startswith("Below the minimum: Text Faithfulness")
    assert "<" not in diff
    assert negative.startswith("extra large red circle"), "what the judge says is there and should not be"


def test_choosing_and_writing(results: dict[str, Any]) -> None:
    assert results["RR_PickBest"]["args"] == [[1, 192, 192, 3], 0, 1.0]
    assert results["RR_CompareImages"]["args"][0] == "TIE"
    assert results["RR_CritiqueToText"]["args"][0].startswith("reward 1.000, text_faithfulness 4.0")
    assert results["RR_MiniatureGenerate"]["args"] == [[2, 192, 192, 3], "ExecutionBlocker"]


def test_an_enlarged_picture_gets_the_same_scores(results: dict[str, Any]) -> None:
    small, middle, large = (scores[:5] for scores in results["scales"])
    assert small == middle == large
