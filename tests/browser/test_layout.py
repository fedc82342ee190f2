"""In none of the templates does a node lie on another one, whatever the renderer makes of their sizes."""

from __future__ import annotations

import json
from pathlib import Path

from tests.browser.layout import boxes_of, crowded, cut
from tests.browser.test_page_details import workflow
from tests.comfy.comfy_server import PACK
from workflows.source.frontend import Frontend
from workflows.source.graphs import BLUEPRINT, GRAPHS

OPEN_SUBGRAPH = """() => {
  const host = app.graph.nodes.find((node) => node.subgraph);
  app.canvas.openSubgraph(host.subgraph, host);
}"""


def test_nodes_of_the_templates_have_clear_room(frontend: Frontend, pictures: Path) -> None:
    faults = []
    for graph in GRAPHS:
        frontend.load(workflow(graph.name), graph.name)
        boxes = boxes_of(frontend)
        (pictures / f"layout_{graph.name}.png").write_bytes(frontend.page.screenshot())
        faults += [f"{graph.name}: {fault}" for fault in (*crowded(boxes), *cut(frontend, boxes))]
    assert faults == []


def test_nodes_inside_the_blueprint_have_clear_room(frontend: Frontend, pictures: Path) -> None:
    blueprint = json.loads((PACK / "subgraphs" / f"{BLUEPRINT.name}.json").read_text(encoding="utf-8"))
    frontend.load(blueprint, "blueprint")
    frontend.page.evaluate(OPEN_SUBGRAPH)
    frontend.page.wait_for_timeout(500)
    boxes = boxes_of(frontend)
    (pictures / "layout_blueprint.png").write_bytes(frontend.page.screenshot())
    assert "RR_LoopUntilScore" in {box.kind for box in boxes}
    assert crowded(boxes) == []
