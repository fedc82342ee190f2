"""Each example workflow opens in the real frontend: no red node, and the prompt it makes is the API form we ship."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.comfy.comfy_server import PACK
from workflows.source.frontend import Frontend
from workflows.source.graph import Graph
from workflows.source.graphs import BLUEPRINT, GRAPHS

FOLDER = PACK / "workflows"


@pytest.mark.parametrize("graph", GRAPHS, ids=[graph.name for graph in GRAPHS])
def test_it_opens(frontend: Frontend, graph: Graph) -> None:
    name = graph.name
    workflow = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    frontend.load(workflow, name)
    assert frontend.unknown_nodes() == []
    assert "Invalid workflow" not in frontend.page.locator("body").inner_text()
    assert [node for node in frontend.red_nodes() if not node.endswith(("Loader", "LoaderSimple", "LoadImage"))] == []
    shipped = json.loads((FOLDER / "api" / f"{name}.json").read_text(encoding="utf-8"))
    assert meant(frontend.prompt()) == meant(shipped)
    assert frontend.errors == []


def meant(prompt: dict[str, Any]) -> dict[str, Any]:
    """Without what differs between versions of ComfyUI: titles, and the widgets of PreviewAny, which only show."""
    said = {}
    for key, node in prompt.items():
        wires = {name: value for name, value in node["inputs"].items() if isinstance(value, list)}
        inputs = wires if node["class_type"] == "PreviewAny" else node["inputs"]
        said[key] = {"class_type": node["class_type"], "inputs": inputs}
    return said


@pytest.mark.parametrize("graph", GRAPHS[:1], ids=[GRAPHS[0].name])
def test_cards_and_filmstrips_are_not_saved(frontend: Frontend, graph: Graph) -> None:
    """Their widgets must leave no trace in `widgets_values`, which go by position."""
    workflow = json.loads((FOLDER / f"{graph.name}.json").read_text(encoding="utf-8"))
    frontend.load(workflow)
    saved = frontend.page.evaluate("() => app.graph.serialize()")
    assert values_of_ours(saved) == values_of_ours(workflow)


def values_of_ours(workflow: dict[str, Any]) -> dict[int, Any]:
    return {node["id"]: node.get("widgets_values") for node in workflow["nodes"] if node["type"].startswith("RR_")}


def test_the_blueprint_opens(frontend: Frontend) -> None:
    blueprint = json.loads((PACK / "subgraphs" / f"{BLUEPRINT.name}.json").read_text(encoding="utf-8"))
    frontend.load(blueprint)
    assert frontend.unknown_nodes() == []
    types = frontend.page.evaluate("() => app.graph.nodes[0].subgraph.nodes.map(node => node.comfyClass)")
    assert {"RR_LoopStart", "RR_RationalCritique", "RR_LoopUntilScore"} <= set(types)


def test_comfyui_offers_workflows_blueprint_help_and_translations(frontend: Frontend) -> None:
    def fetched(path: str) -> str:
        return str(frontend.page.evaluate("async (path) => (await fetch(path)).text()", path))

    offered = json.loads(fetched("/workflow_templates"))
    assert [sorted(names) for names in offered.values()] == [sorted(graph.name for graph in GRAPHS)]
    assert BLUEPRINT.name in [entry["name"] for entry in json.loads(fetched("/global_subgraphs")).values()]
    assert "RR_LoopStart" in json.loads(fetched("/i18n"))["zh"]["nodeDefs"]
    scripts = [path for path in json.loads(fetched("/extensions")) if path.endswith("rationalrewards.js")]
    help_page = scripts[0].replace("rationalrewards.js", "docs/RR_LoopStart.md")
    assert fetched(help_page).startswith("# Loop Start")


def test_light_theme_and_chinese(frontend: Frontend, pictures: Path) -> None:
    nodes_2 = pictures.name == "nodes_2"
    frontend.open(nodes_2=nodes_2, theme="light", language="zh")
    frontend.load(json.loads((FOLDER / "1_miniature_loop.json").read_text(encoding="utf-8")))
    assert "本次迭代后停止" in frontend.page.locator(".rr-stop").inner_text()
    ink, paper = frontend.page.evaluate(
        "() => { const s = getComputedStyle(document.querySelector('.rr-deck')); return [s.color, s.backgroundColor]; }"
    )
    frontend.show()
    (pictures / "light_zh.png").write_bytes(frontend.page.screenshot())
    frontend.open(nodes_2=nodes_2)  # as the other tests expect the page that they share
    assert brightness(ink) < 100 < 180 < brightness(paper)


def brightness(color: str) -> float:
    """Mean of the channels, 0 to 255; `color(srgb r g b)` counts from 0 to 1."""
    channels = [float(part) for part in re.findall(r"[\d.]+", color)[:3]]
    return sum(channels) / 3 * (255 if color.startswith("color(") else 1)
