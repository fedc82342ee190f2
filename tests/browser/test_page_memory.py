"""A page holds the loop that it shows, and of the loops before it nothing. Tiny pictures, and a judge that answers at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from workflows.source.frontend import Frontend

MEGABYTE = 2**20
SET = """values => { for (const node of app.graph.nodes) for (const widget of node.widgets ?? [])
  if (node.type.startsWith('RR_Loop') && widget.name in values) widget.value = values[widget.name]; }"""
COUNT_BLOBS = """() => { const blobs = window.openBlobs = new Set(), { createObjectURL, revokeObjectURL } = URL;
  URL.createObjectURL = thing => { const url = createObjectURL.call(URL, thing); blobs.add(url); return url; };
  URL.revokeObjectURL = url => { blobs.delete(url); revokeObjectURL.call(URL, url); }; }"""
ENDED = """most => document.querySelectorAll('.rr-frame').length === most
  && !document.querySelector('.rr-status').textContent.startsWith('Running')"""


@dataclass(frozen=True)
class Held:
    """What the page holds once everything that can go is gone."""

    megabytes: float
    elements: int
    listeners: int
    blobs: int
    images: int


ITERATION = 0.25
"""MB of an iteration: its row, its card and their texts; 0.07 to 0.16 were measured."""
FEW_FILMS = 20.0
"""MB that are less than three films of 100 iterations; a frontend keeps outputs of its latest runs itself, and lets them go."""
FILM = Held(megabytes=7.0, elements=1000, listeners=500, blobs=0, images=100)
"""A film of 100 iterations."""


@pytest.fixture
def inspector(frontend: Frontend) -> Iterator[Any]:
    session = frontend.page.context.new_cdp_session(frontend.page)
    session.send("Performance.enable")
    session.send("HeapProfiler.enable")
    frontend.page.evaluate(COUNT_BLOBS)
    yield session
    session.detach()


def loop() -> dict[str, Any]:
    """Plain pictures in the colour of the seed; nothing ends the loop but its number of iterations."""

    def node(kind: str, at: tuple[int, int], widgets: dict[str, Any], **wires: str) -> dict[str, Any]:
        return {"type": kind, "at": at, "size": (400, 420), "title": "", "widgets": widgets, "wires": wires}

    nodes = {
        "start": node("RR_LoopStart", (0, 0), {"prompt": "a plain colour that page memory is measured by"}),
        "judge": node("RR_LoadScorer", (0, 500), {"engine": "server", "engine.server": "tested"}),
        "paint": node("EmptyImage", (450, 0), {"width": 64, "height": 64}, color="start.seed"),
        "critique": node(
            "RR_RationalCritique",
            (900, 0),
            {},
            scorer="judge.scorer",
            image="paint.IMAGE",
            prompt="start.original_prompt",
        ),
        "refine": node("RR_PromptRefine", (900, 600), {}, critique="critique.critique", prompt="start.prompt"),
        "end": node(
            "RR_LoopUntilScore",
            (1400, 0),
            {"threshold": 1.0, "minimum_score": 100.0, "patience": 100},
            flow="start.flow",
            image="paint.IMAGE",
            critique="critique.critique",
            refined_prompt="refine.prompt",
        ),
    }
    return {"id": "00000000-0000-4000-8000-0000000003e3", "name": "memory", "nodes": nodes, "groups": []}


def looped(frontend: Frontend, inspector: Any, iterations: int, seed: int) -> Held:
    """A run with `iterations` pictures that no run made before, and what the page holds after it."""
    frontend.page.evaluate(SET, {"max_iterations": iterations, "seed": seed})
    frontend.queue()
    frontend.page.wait_for_timeout(500)
    frontend.idle(300)
    frontend.page.wait_for_function(ENDED, arg=iterations, timeout=60_000)
    for _ in range(3):
        inspector.send("HeapProfiler.collectGarbage")
        frontend.page.wait_for_timeout(300)
    figures = {entry["name"]: entry["value"] for entry in inspector.send("Performance.getMetrics")["metrics"]}
    blobs, images = frontend.page.evaluate("() => [window.openBlobs.size, document.images.length]")
    return Held(
        figures["JSHeapUsedSize"] / MEGABYTE, int(figures["Nodes"]), int(figures["JSEventListeners"]), blobs, images
    )


def test_a_hundred_iterations_are_held_once(frontend: Frontend, inspector: Any) -> None:
    frontend.load(frontend.build(loop())["ui"])
    runs = [20, 20, 100, 100, 100, 20]
    figures = [looped(frontend, inspector, count, 1000 * place) for place, count in enumerate(runs, 1)]
    print(*figures, sep="\n")
    _, few, many, *_, again, fewer = figures
    assert many.megabytes - few.megabytes < 80 * ITERATION, "rows of a film are small: pictures are the browser's"
    assert fewer.megabytes - few.megabytes < FEW_FILMS, "of the films before not all are kept"
    for later, first, between in ((again, many, 2), (fewer, few, 4)):
        assert later.elements - first.elements < between * FILM.elements / 4, "far less than a film is added by a run"
        assert later.listeners - first.listeners < between * FILM.listeners / 4
        assert later.blobs - first.blobs < 5
        assert later.images - first.images < 5
