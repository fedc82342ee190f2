"""The frontend keeps outputs by the ids of nodes, also those of another workflow; the pack shows each workflow its own."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.browser.test_page_details import workflow
from workflows.source.frontend import Frontend

SET = """values => { for (const node of app.graph.nodes) for (const widget of node.widgets ?? [])
  if (widget.name in (values[node.type] ?? {})) widget.value = values[node.type][widget.name]; }"""
OUTPUTS = """async id => { const run = (await (await fetch(`/history/${id}`)).json())[id];
  return run && Object.entries(run.outputs).map(([node, output]) => [run.meta[node]?.display_node ?? node, output]); }"""
LAST_RUN = "async id => Object.values(await (await fetch('/history')).json()).map(run => run.prompt).filter(prompt => prompt[3].extra_pnginfo?.workflow?.id === id).at(-1)[1]"
SEND = """([prompt_id, outputs]) => { for (const [node, output] of outputs)
  app.api.dispatchCustomEvent('executed', { node, display_node: node, prompt_id, output }); }"""
CARDS = ".rr-deck dt, .rr-rewording article, .rr-frame, .rr-check li"


class Tabs:
    """The first template in two tabs, the first of which has run: one iteration, and a check-up of the judge."""

    def __init__(self, frontend: Frontend, name: str) -> None:
        self.frontend, self.page, self.name = frontend, frontend.page, name
        self.first, self.second = self.opened(name), self.opened(f"{name} again")
        self.go("Previous", self.first)
        loop = {"threshold": 0.0, "minimum_score": 0.0, "max_iterations": 1}
        values = {"RR_LoadScorer": {"check": True}, "RR_LoopUntilScore": loop}
        self.page.evaluate(SET, {**values, "RR_LoopStart": {"seed": time.time_ns() % 2**31}})
        frontend.queue()
        self.page.wait_for_selector(".rr-check li", timeout=90_000, state="attached")
        frontend.idle()
        self.page.wait_for_function("() => document.querySelector('.rr-frame b')", timeout=20_000)
        self.run = self.page.evaluate(LAST_RUN, self.first)

    def opened(self, name: str) -> str:
        self.frontend.load(workflow("1_miniature_loop"), name)
        return str(self.page.evaluate("() => app.graph.id"))

    def go(self, way: str, expected: str) -> None:
        self.page.evaluate("name => app.extensionManager.command.execute(name)", f"Workspace.{way}OpenedWorkflow")
        self.page.wait_for_function("id => app.graph.id === id", arg=expected, timeout=20_000)
        self.page.wait_for_timeout(1000)

    def cards(self) -> list[str]:
        return list(self.page.locator(CARDS).all_inner_texts())


@pytest.fixture
def tabs(frontend: Frontend, request: pytest.FixtureRequest) -> Tabs:
    return Tabs(frontend, request.node.name.replace("[", " ").strip("]"))


def test_a_run_that_ends_while_another_workflow_is_open_shows_nothing_there(tabs: Tabs) -> None:
    mine = tabs.cards()
    assert mine
    tabs.go("Next", tabs.second)
    outputs: list[Any] = tabs.page.evaluate(OUTPUTS, tabs.run)
    tabs.page.evaluate(SEND, [tabs.run, outputs])
    tabs.page.wait_for_timeout(500)
    assert tabs.cards() == []
    tabs.go("Previous", tabs.first)
    assert tabs.cards() == mine, "its own are still there, those that only the page keeps as well"
    tabs.go("Next", tabs.second)
    assert tabs.cards() == []
    assert tabs.frontend.errors == []


def test_a_workflow_opened_over_an_unsaved_one_of_its_name_shows_nothing_of_it(tabs: Tabs) -> None:
    assert tabs.cards()
    assert tabs.opened(tabs.name) != tabs.first
    tabs.page.wait_for_timeout(800)
    assert tabs.cards() == []
    assert tabs.frontend.errors == []
