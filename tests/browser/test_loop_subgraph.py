"""A loop inside a subgraph: its film and its button to stop are on the subgraph's own node, as in the blueprint."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_film import Film
from tests.browser.test_loop_page import WIDGETS as ENDLESS
from tests.browser.test_page_details import workflow
from tests.comfy.comfy_server import PACK
from workflows.source.frontend import Frontend
from workflows.source.graphs import BLUEPRINT

SET = """values => { for (const node of app.graph.nodes) for (const widget of node.widgets ?? [])
  if (node.type.startsWith('RR_Loop') && widget.name in values) widget.value = values[widget.name]; }"""
INTO = """types => { const inside = new Set(app.graph.nodes.filter(n => types.includes(n.type)));
  const { node } = app.graph.convertToSubgraph(inside); return String(node.id); }"""
VISIBLE = ".rr-film:visible"
"""Some frontends keep the film of the node inside as well, where nobody sees it."""
LOOP = ["RR_LoopStart", "RR_MiniatureGenerate", "RR_RationalCritique", "RR_PromptRefine", "RR_LoopUntilScore"]


def widgets_of(frontend: Frontend) -> dict[str, Any]:
    script = "() => Object.fromEntries(app.graph.nodes[0].widgets.map(w => [w.name, w.value]))"
    return dict(frontend.page.evaluate(script))


@pytest.fixture
def blueprint(frontend: Frontend) -> Frontend:
    frontend.load(json.loads((PACK / "subgraphs" / f"{BLUEPRINT.name}.json").read_text(encoding="utf-8")))
    return frontend


def test_the_blueprint_has_the_knobs_and_the_film_of_its_loop(blueprint: Frontend, pictures: Path) -> None:
    widgets = widgets_of(blueprint)
    assert widgets.items() >= {"seed": 42, "steps": 28, "cfg": 6, "threshold": 0.85, "max_iterations": 6}.items()
    assert "AURORA" in widgets["prompt"]
    blueprint.show()
    film = blueprint.page.locator(VISIBLE)
    assert film.count() == 1
    assert film.bounding_box()["height"] > 100
    assert "Stop after this iteration" in film.inner_text()
    (pictures / "blueprint.png").write_bytes(blueprint.page.screenshot())
    saved = json.dumps(blueprint.page.evaluate("() => app.graph.serialize().nodes[0]"))
    assert "filmstrip" not in saved, "the film is no part of the file"


def test_what_the_library_says_of_the_blueprint() -> None:
    extra = json.loads((PACK / "subgraphs" / f"{BLUEPRINT.name}.json").read_text(encoding="utf-8"))["extra"]
    assert extra["BlueprintDescription"].startswith("Generate, critique, refine")
    assert {"loop", "quality"} <= set(extra["BlueprintSearchAliases"])


def test_a_prompt_of_the_film_goes_into_the_subgraphs_own_widgets(blueprint: Frontend) -> None:
    page = blueprint.page
    host, end = page.evaluate(
        "() => { const h = app.graph.nodes[0]; return [h, h.subgraph.nodes.find(n => n.type === 'RR_LoopUntilScore')].map(n => String(n.id)); }"
    )
    told = Film.__new__(Film)
    told.frontend, told.page, told.workflow = blueprint, page, page.evaluate("() => app.graph.id")
    told.ids = {"end": f"{host}:{end}", "critique": None, "refine": None}
    state = told.state("inside", 0.5, 0.6, running=True, stopped=None)
    told.live(state, 0)
    told.live(state, 1)
    blueprint.show()
    frames = page.locator(f"{VISIBLE} .rr-frame")
    assert frames.count() == 2
    frames.nth(1).click()
    page.get_by_role("button", name="Use this prompt and seed").click()
    page.wait_for_timeout(300)
    page.keyboard.press("Escape")
    assert widgets_of(blueprint).items() >= {"prompt": "inside prompt 1", "seed": 8}.items()
    (start,) = [node for node in blueprint.prompt().values() if node["class_type"] == "RR_LoopStart"]
    assert (start["inputs"]["prompt"], start["inputs"]["seed"]) == ("inside prompt 1", 8)


def test_a_loop_in_a_subgraph_is_seen_and_stopped_from_outside(
    frontend: Frontend, pictures: Path, request: pytest.FixtureRequest
) -> None:
    page, seed = frontend.page, zlib.crc32(request.node.name.encode())  # of its own: no iteration of it is kept
    frontend.load(workflow("1_miniature_loop"))
    page.evaluate(SET, {**ENDLESS, "seed": seed})
    page.evaluate(INTO, LOOP)
    frontend.show()
    film = page.locator(VISIBLE)
    assert film.count() == 1
    frontend.queue()
    page.wait_for_function("() => document.querySelectorAll('.rr-film .rr-frame').length >= 2", timeout=90_000)
    film.locator(".rr-stop").click()
    frontend.idle()
    film.get_by_text("Stopped by you.").wait_for(timeout=20_000)
    assert 2 <= film.locator(".rr-frame").count() < 90
    frontend.show()
    (pictures / "subgraph.png").write_bytes(page.screenshot())
    assert frontend.errors == []
