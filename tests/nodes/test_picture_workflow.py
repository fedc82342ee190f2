"""The workflow in a picture: the queued one, with this picture's prompt and seed, wherever Loop Start is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.nodes.comfy_stub import ROOT, Pack

STORED = json.loads((ROOT / "tests" / "web" / "frozen_nodes.json").read_text(encoding="utf-8"))
SOCKETS = {"IMAGE", "RR_FLOW", "RR_CRITIQUE"}


def template() -> dict[str, Any]:
    return dict(json.loads(Path(ROOT, "workflows", "1_miniature_loop.json").read_text(encoding="utf-8")))


def node(graph: dict[str, Any], node_id: int) -> dict[str, Any]:
    return next(one for one in graph["nodes"] if one["id"] == node_id)


@pytest.fixture
def edits(pack: Pack) -> Any:
    return pack.module("nodes.loop.picture_workflow")


def test_places_of_widgets_are_those_of_the_schemas(edits: Any) -> None:
    for node_id, names in edits.WIDGETS.items():
        widgets: list[str] = []
        for name, io_type, *meaning in STORED[node_id]["inputs"]:
            if io_type not in SOCKETS and "force_input" not in meaning:
                widgets += [name, *(["control_after_generate"] if "control_after_generate" in meaning else [])]
        assert tuple(widgets[: len(names)]) == names


def test_prompt_and_seed_are_set_and_nothing_else(edits: Any) -> None:
    before = template()
    start, end = edits.picture_values("a better cat", 9)
    after = edits.with_widgets(edits.with_widgets(before, "3", start), "7", end)
    assert node(after, 3)["widgets_values"] == ["a better cat", 9, "fixed", "increment"]
    assert node(after, 7)["widgets_values"][:2] == [0.8, 1]
    assert node(after, 3)["widgets_values_named"]["prompt"] == "a better cat"
    assert node(after, 7)["widgets_values_named"]["max_iterations"] == 1
    assert before == template(), "the queued workflow is as it was"
    assert after["links"] == before["links"]
    others = [one for one in before["nodes"] if one["id"] not in (3, 7)]
    assert [one for one in after["nodes"] if one["id"] not in (3, 7)] == others


def test_a_wire_that_would_set_the_prompt_is_taken_off(edits: Any) -> None:
    before = template()
    words = {"id": 50, "type": "PrimitiveString", "inputs": [], "outputs": [{"name": "STRING", "links": [99, 98]}]}
    before["nodes"].append(words)
    before["links"] += [[99, 50, 0, 3, 0, "STRING"], [98, 50, 0, 9, 0, "STRING"]]
    next(one for one in node(before, 3)["inputs"] if one["name"] == "prompt")["link"] = 99
    after = edits.with_widgets(before, "3", edits.picture_values("a better cat", 9)[0])
    assert next(one for one in node(after, 3)["inputs"] if one["name"] == "prompt")["link"] is None
    assert [link[0] for link in after["links"] if link[0] in (98, 99)] == [98]
    assert node(after, 50)["outputs"][0]["links"] == [98]


def test_braces_of_a_prompt_stay_braces(edits: Any) -> None:
    assert edits.page_text("a {cat}|dog") == r"a \{cat\}\|dog"


def inside(uses: int) -> dict[str, Any]:
    """Template 1 as a subgraph, used so many times."""
    inner = {**template(), "id": "sub", "inputs": [{"name": "prompt", "linkIds": [70]}], "links": []}
    next(one for one in node(inner, 3)["inputs"] if one["name"] == "prompt")["link"] = 70
    inner["links"] = [{"id": 70, "origin_id": -10, "origin_slot": 0, "target_id": 3, "target_slot": 0}]
    nodes = [{"id": 12 + number, "type": "sub"} for number in range(uses)]
    return {"nodes": nodes, "links": [], "definitions": {"subgraphs": [inner]}}


def test_in_a_subgraph(edits: Any) -> None:
    values = edits.picture_values("a better cat", 9)[0]
    (inner,) = edits.with_widgets(inside(1), "12:3", values)["definitions"]["subgraphs"]
    assert node(inner, 3)["widgets_values"][:2] == ["a better cat", 9]
    assert inner["links"] == []
    assert inner["inputs"][0]["linkIds"] == []
    assert edits.with_widgets(inside(2), "12:3", values) == inside(2), "the other use would change, too"
    assert edits.with_widgets(inside(1), "44:3", values) == inside(1)


def test_the_text_for_other_tools(pack: Pack) -> None:
    made = pack.module("nodes.loop.made_with")
    table = {
        "prompt": "a cat, red",
        "seed": 9,
        "reward": 0.8567,
        "scores": {"Text Faithfulness": 3.5, "Left Out": None},
    }
    settings = {"Negative prompt": "blurry", "Steps": 20, "Model": "a, b.safetensors"}
    assert made.parameters(table, settings, (640, 512)) == (
        "a cat, red\nNegative prompt: blurry\n"
        'Steps: 20, Model: "a, b.safetensors", Seed: 9, Size: 640x512, Reward: 0.857, Text Faithfulness: 3.5'
    )
