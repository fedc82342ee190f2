"""A loop of 100 iterations, and that again and again, leaves nothing behind in the page but its own film."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.browser.test_page_details import workflow
from workflows.source.frontend import Frontend

MEGABYTE = 2**20
PER_ITERATION = 0.05
"""MB of a row with its card, picture and texts, generously."""
AGAIN = 1.5
"""MB by which the same loop once more may differ: the frontend's own history of runs."""
SET = """values => { for (const node of app.graph.nodes) for (const widget of node.widgets ?? [])
  if (node.type === 'RR_LoopUntilScore' && widget.name in values) widget.value = values[widget.name]; }"""


@dataclass(frozen=True)
class Held:
    """What the page holds once everything that can go is gone."""

    megabytes: float
    elements: int


@pytest.fixture
def inspector(frontend: Frontend) -> Iterator[Any]:
    session = frontend.page.context.new_cdp_session(frontend.page)
    session.send("Performance.enable")
    session.send("HeapProfiler.enable")
    yield session
    session.detach()


def held(frontend: Frontend, inspector: Any) -> Held:
    for _ in range(3):
        inspector.send("HeapProfiler.collectGarbage")
        frontend.page.wait_for_timeout(300)
    figures = {entry["name"]: entry["value"] for entry in inspector.send("Performance.getMetrics")["metrics"]}
    return Held(figures["JSHeapUsedSize"] / MEGABYTE, int(figures["Nodes"]))


def looped(frontend: Frontend, iterations: int) -> None:
    frontend.page.evaluate(SET, {"threshold": 1.0, "patience": 100, "max_iterations": iterations})
    frontend.queue()
    frontend.page.wait_for_timeout(500)
    frontend.idle(300)
    frontend.page.wait_for_function(
        "most => document.querySelectorAll('.rr-frame').length === most"
        " && !document.querySelector('.rr-status').textContent.startsWith('Running')",
        arg=iterations,
        timeout=30_000,
    )


def test_a_hundred_iterations_are_held_once(frontend: Frontend, inspector: Any) -> None:
    frontend.load(workflow("1_miniature_loop"))
    figures = []
    for iterations in (10, 50, 100, 100, 100):
        looped(frontend, iterations)
        figures.append(held(frontend, inspector))
    print("MB, DOM nodes after 10, 50, 100, 100, 100:", *(f"{one.megabytes:.1f}, {one.elements};" for one in figures))
    few, _, many, again, thrice = figures
    assert many.megabytes - few.megabytes < 90 * PER_ITERATION
    assert thrice.megabytes - many.megabytes < 2 * AGAIN
    assert thrice.megabytes - again.megabytes < AGAIN
    assert thrice.elements - many.elements < 200, "nothing of the runs before stays in the page"
