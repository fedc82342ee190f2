"""A page holds the loop that it shows, and of the loops before it nothing. Tiny pictures, and a judge that answers at once.

What counts is what is ours. The frontend itself keeps a list of jobs for every run, with any workflow: 47 nodes and some
50 listeners a run with Empty Image and Preview Image alone (comfyui-frontend-package 1.49.6).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from rationalrewards_core.doctor_case import PROMPT
from workflows.source.frontend import Frontend

MEGABYTE = 2**20
SET = """values => { for (const node of app.graph.nodes) for (const widget of node.widgets ?? [])
  if (node.type.startsWith('RR_Loop') && widget.name in values) widget.value = values[widget.name]; }"""
COUNT_BLOBS = """() => { const blobs = window.openBlobs = new Set(), { createObjectURL, revokeObjectURL } = URL;
  URL.createObjectURL = thing => { const url = createObjectURL.call(URL, thing); blobs.add(url); return url; };
  URL.revokeObjectURL = url => { blobs.delete(url); revokeObjectURL.call(URL, url); }; }"""
LEFT = """function() { const roots = new Set(this.filter(entry => !Object.hasOwn(entry, 'constructor')).map(entry => entry.getRootNode()));
  const ours = '[class^="rr-"], [class*=" rr-"]';
  return [...roots].filter(root => root instanceof Element)
    .map(root => root.matches(ours) + root.querySelectorAll(ours).length).reduce((sum, count) => sum + count, 0); }"""
"""Every element that scripts can still reach (prototypes are no elements); those outside the page hang on no document."""
ENDED = """most => document.querySelectorAll('.rr-frame').length === most
  && !document.querySelector('.rr-status').textContent.startsWith('Running')"""


@dataclass(frozen=True)
class Held:
    """What the page holds once everything that can go is gone; `left` are elements of ours that are no longer in it."""

    megabytes: float
    left: int
    blobs: int
    images: int


ITERATION = 0.4
"""MB of an iteration: its row, its card and their texts; 0.01 to 0.23 were measured."""
FEW_FILMS = 30.0
"""MB that are less than two films of 100 iterations; a frontend keeps outputs of its latest runs itself, and lets them go."""


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
        "start": node("RR_LoopStart", (0, 0), {"prompt": f"{PROMPT} that page memory is measured by"}),
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


def elements_left(inspector: Any) -> int:
    """Number of elements of ours that live outside the page."""
    element = inspector.send("Runtime.evaluate", {"expression": "Element.prototype", "objectGroup": "left"})
    reference = {"prototypeObjectId": element["result"]["objectId"], "objectGroup": "left"}
    living = inspector.send("Runtime.queryObjects", reference)["objects"]["objectId"]
    call = {"objectId": living, "functionDeclaration": LEFT, "returnByValue": True}
    count = inspector.send("Runtime.callFunctionOn", call)["result"]["value"]
    inspector.send("Runtime.releaseObjectGroup", {"objectGroup": "left"})
    return int(count)


def left_at_last(frontend: Frontend, inspector: Any, enough: int | None) -> int:
    """Waits until no more than `enough` are left: a picture on its way holds its film until it is there.

    None: what is there after five readings, each of which takes seconds.
    """
    for _ in range(5 if enough is None else 30):
        left = elements_left(inspector)
        if enough is not None and left <= enough:
            break
        frontend.page.wait_for_timeout(500)
    return left


def looped(frontend: Frontend, inspector: Any, iterations: int, seed: int, enough: int | None = None) -> Held:
    """A run with `iterations` pictures that no run made before, and what the page holds after it."""
    frontend.page.evaluate(SET, {"max_iterations": iterations, "seed": seed})
    frontend.queue()
    frontend.idle(300)
    frontend.page.wait_for_function(ENDED, arg=iterations, timeout=300_000)
    left = left_at_last(frontend, inspector, enough)
    for _ in range(3):
        inspector.send("HeapProfiler.collectGarbage")
        frontend.page.wait_for_timeout(300)
    figures = {entry["name"]: entry["value"] for entry in inspector.send("Performance.getMetrics")["metrics"]}
    blobs, images = frontend.page.evaluate("() => [window.openBlobs.size, document.images.length]")
    return Held(figures["JSHeapUsedSize"] / MEGABYTE, left, blobs, images)


def test_a_hundred_iterations_are_held_once(frontend: Frontend, inspector: Any) -> None:
    """Numbers of iterations differ from run to run, so that no film of the run before is taken for an end."""
    frontend.load(frontend.build(loop())["ui"])
    looped(frontend, inspector, 10, 1000)
    few = looped(frontend, inspector, 11, 2000)
    enough = few.left + 4
    many, again = (looped(frontend, inspector, count, 1000 * count, enough) for count in (99, 100))
    fewer = looped(frontend, inspector, 12, 9000, enough)
    print(few, many, again, fewer, sep="\n")
    assert many.megabytes - few.megabytes < 88 * ITERATION, "rows of a film are small: pictures are the browser's"
    assert fewer.megabytes - few.megabytes < FEW_FILMS, "of the films before not all are kept"
    for later, first in ((again, many), (fewer, few)):
        assert later.left <= enough, "a film leaves no element behind"
        assert later.blobs - first.blobs < 5
        assert abs(later.images - first.images) < 5
