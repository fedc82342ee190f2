"""The example workflows as files: both forms say the same, and nothing in them reaches outside ComfyUI's folders.

That they open and run is tested against a real ComfyUI (tests/comfy, tests/browser).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.web.node_schemas import ROOT, inputs_of
from workflows.source.graphs import BLUEPRINT, GRAPHS, INSIDE

FOLDER = ROOT / "workflows"
NAMES = [graph.name for graph in GRAPHS]
REACHES_OUT = re.compile(r"[a-z][a-z0-9+.-]*://|(?<![\w.])/(?:home|root|tmp|usr|mnt|Users)/|[A-Za-z]:\\|\.\./")
CONTROL = "control_after_generate"


def ui_of(name: str) -> dict[str, Any]:
    return dict(json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")))


def api_of(name: str) -> dict[str, Any]:
    return dict(json.loads((FOLDER / "api" / f"{name}.json").read_text(encoding="utf-8")))


def test_the_folder_holds_these_workflows_and_nothing_else() -> None:
    assert sorted(file.stem for file in FOLDER.glob("*.json")) == sorted(NAMES)
    assert sorted(file.stem for file in (FOLDER / "api").glob("*.json")) == sorted(NAMES)
    assert sorted(file.stem for file in FOLDER.glob("*.jpg")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_template_opened_twice_is_two_workflows(name: str) -> None:
    """The page gives an id to what has none; with an id of its own, every copy would show the runs of all others."""
    assert "id" not in ui_of(name)


@pytest.mark.parametrize("name", NAMES)
def test_both_forms_hold_the_same_nodes_and_wires(name: str) -> None:
    ui, api = ui_of(name), api_of(name)
    nodes = {str(node["id"]): node for node in ui["nodes"] if node["type"] != "MarkdownNote"}
    assert {key: node["type"] for key, node in nodes.items()} == {key: n["class_type"] for key, n in api.items()}
    wires = {
        (str(link[3]), nodes[str(link[3])]["inputs"][link[4]]["name"]): [str(link[1]), link[2]] for link in ui["links"]
    }
    linked = {
        (key, slot): value
        for key, node in api.items()
        for slot, value in node["inputs"].items()
        if isinstance(value, list)
    }
    assert wires == linked
    for key, node in api.items():
        values = [str(value) for value in nodes[key].get("widgets_values", [])]
        for slot, value in node["inputs"].items():
            assert isinstance(value, list) or str(value) in values, (key, slot)


@pytest.mark.parametrize("name", NAMES)
def test_the_packs_nodes_are_used_as_their_schemas_say(name: str, schemas: dict[str, Any]) -> None:
    api = api_of(name)
    for key, node in api.items():
        schema = schemas.get(node["class_type"])
        for slot, value in node["inputs"].items():
            if schema is not None:
                assert slot in inputs_of(schema), (key, slot)
            if isinstance(value, list) and api[value[0]]["class_type"] in schemas:
                assert value[1] < len(schemas[api[value[0]]["class_type"]].outputs), (key, slot)
        if schema is not None:
            required = {entry.id for entry in schema.inputs if not entry.optional}
            assert required <= set(node["inputs"]), key


@pytest.mark.parametrize("name", NAMES)
def test_widgets_are_stored_in_the_order_of_the_schema(name: str, schemas: dict[str, Any]) -> None:
    """Positions are all that the UI form has: a widget in between would shift every value after it."""
    api = api_of(name)
    for node in ui_of(name)["nodes"]:
        schema = schemas.get(node["type"])
        if schema is None or "widgets_values" not in node:
            continue
        stored = list(node["widgets_values"])
        for slot in (entry["name"] for entry in node["inputs"] if "widget" in entry):
            value = stored.pop(0)
            set_to = api[str(node["id"])]["inputs"][slot]
            assert isinstance(set_to, list) or set_to == value, (node["id"], slot)
            if getattr(inputs_of(schema)[slot], "keywords", {}).get(CONTROL):
                assert stored.pop(0) in ("fixed", "randomize")
        assert not stored


@pytest.mark.parametrize("name", NAMES)
def test_there_is_room_for_the_notice_of_a_missing_judge(name: str) -> None:
    """It makes Load Rational Scorer 560 high in Nodes 2.0, whichever engine is chosen at first, and a check-up's card does
    likewise; a node that lay there could not be used."""
    nodes = ui_of(name)["nodes"]
    for judge in (node for node in nodes if node["type"] == "RR_LoadScorer"):
        (left, top), wide = judge["pos"], judge["size"][0]
        column = [node for node in nodes if node["pos"][0] < left + wide and left < node["pos"][0] + node["size"][0]]
        assert not [node["type"] for node in column if top < node["pos"][1] < top + 600]


@pytest.mark.parametrize("graph", GRAPHS, ids=NAMES)
def test_the_files_are_what_their_source_says(graph: Any) -> None:
    """A graph that was changed in the source must be exported again."""
    nodes = ui_of(graph.name)["nodes"]
    assert [node["type"] for node in nodes] == [node.type for node in graph.nodes.values()]
    for written, node in zip(nodes, graph.nodes.values(), strict=True):
        values = written.get("widgets_values", [])
        assert all(value in values for value in node.widgets.values()), written["type"]
        assert tuple(written["pos"]) == node.at


@pytest.mark.parametrize("file", [*FOLDER.rglob("*.json"), *(ROOT / "subgraphs").glob("*.json")], ids=lambda f: f.name)
def test_no_address_and_no_path_of_a_machine(file: Path) -> None:
    """Only where models are: the frontend offers a download of what `models` names, and notes link to the judge."""
    text = file.read_text(encoding="utf-8").replace("https://huggingface.co/", "").replace("\\n", " ")
    assert not REACHES_OUT.findall(text)


@pytest.mark.parametrize("name", NAMES)
def test_thumbnails_are_light(name: str) -> None:
    file = FOLDER / f"{name}.jpg"
    assert file.stat().st_size < 150_000
    with Image.open(file) as picture:
        assert picture.width <= 1000
        assert picture.width > picture.height


def test_the_blueprint_is_one_subgraph_with_sockets_for_everything_outside(schemas: dict[str, Any]) -> None:
    (file,) = (ROOT / "subgraphs").glob("*.json")
    blueprint = json.loads(file.read_text(encoding="utf-8"))
    (node,), (inner,) = blueprint["nodes"], blueprint["definitions"]["subgraphs"]
    assert node["type"] == inner["id"]
    assert file.stem == inner["name"] == BLUEPRINT.name
    assert sorted(one["type"] for one in inner["nodes"]) == sorted(BLUEPRINT.nodes[name].type for name in INSIDE)
    assert {"model", "clip", "vae", "scorer", "prompt"} <= {entry["name"] for entry in node["inputs"]}
    assert {"best_image", "best_prompt", "reached"} <= {entry["name"] for entry in node["outputs"]}
