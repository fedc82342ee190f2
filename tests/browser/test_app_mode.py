"""Loops in the frontend's app mode: controls, film, rewards and the button to stop, without the graph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_loop_page import WIDGETS as ENDLESS
from tests.browser.test_page_details import workflow
from workflows.source.frontend import Frontend
from workflows.source.graphs import GRAPHS

LOOPS = [graph.name for graph in GRAPHS if graph.app is not None]
TOGGLE = "() => app.extensionManager.command.execute('Comfy.ToggleLinear')"
COMMANDS = "() => app.extensionManager.command.commands.map(c => c.id)"
SET = """values => { for (const node of app.graph.nodes) for (const widget of node.widgets ?? [])
  if (node.type === 'RR_LoopUntilScore' && widget.name in values) widget.value = values[widget.name]; }"""


@pytest.fixture
def app_mode(frontend: Frontend) -> Iterator[Frontend]:
    if "Comfy.ToggleLinear" not in frontend.page.evaluate(COMMANDS):
        pytest.skip("this frontend has no app mode")
    frontend.load(workflow("1_miniature_loop"))
    frontend.page.evaluate(TOGGLE)
    frontend.page.wait_for_timeout(1200)
    welcome = frontend.page.get_by_role("button", name="Skip", exact=True)
    if welcome.count():
        welcome.first.click()
        frontend.page.wait_for_timeout(400)
    yield frontend
    if frontend.page.locator("[data-testid='app-mode-widget-item']").count():
        frontend.page.evaluate(TOGGLE)
        frontend.page.wait_for_timeout(600)


def test_a_loop_runs_is_seen_and_is_stopped_without_its_graph(app_mode: Frontend, pictures: Path) -> None:
    page = app_mode.page
    labels = page.locator("[data-testid='app-mode-widget-item'] [data-testid='builder-widget-label']").all_inner_texts()
    assert labels == ["prompt", "Iterations of the loop", "threshold", "max_iterations", "seed"]
    film = page.locator("[data-testid='app-mode-widget-item'] .rr-film")
    assert film.bounding_box()["height"] > 250
    page.evaluate(SET, ENDLESS)
    app_mode.queue()
    page.wait_for_function("() => document.querySelectorAll('.rr-frame').length >= 2", timeout=90_000)
    (pictures / "app_running.png").write_bytes(page.screenshot())
    film.locator(".rr-stop").click()
    app_mode.idle()
    film.get_by_text("Stopped by you.").wait_for(timeout=20_000)
    assert "Best 0." in film.inner_text()
    assert film.locator(".rr-frame").count() < ENDLESS["max_iterations"]
    (pictures / "app_stopped.png").write_bytes(page.screenshot())
    page.evaluate(TOGGLE)
    page.locator("[data-testid='app-mode-widget-item']").first.wait_for(state="hidden", timeout=20_000)
    page.wait_for_timeout(1200)
    back = page.locator(".rr-film")
    assert back.count() == 1
    assert back.bounding_box()["height"] > 100, "the film is back on its node"
    assert "Stopped by you." in back.inner_text()
    assert app_mode.errors == []


@pytest.mark.parametrize("name", LOOPS)
def test_an_app_keeps_its_controls_when_it_is_opened_and_saved(frontend: Frontend, name: str) -> None:
    opened: dict[str, Any] = workflow(name)
    shown = opened["extra"]["linearData"]
    widgets = {str(node["id"]): [one["name"] for one in node["inputs"]] for node in opened["nodes"]}
    for node, widget in shown["inputs"]:
        assert widget in [*widgets[str(node)], "rr_filmstrip"]
    frontend.load(opened)
    saved = frontend.page.evaluate("() => app.graph.serialize().extra.linearData")
    assert len(saved["inputs"]) == len(shown["inputs"])
    assert [str(one) for one in saved["outputs"]] == shown["outputs"]
