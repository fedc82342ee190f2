"""`check` on Load Rational Scorer: the doctor's lines stand on the node, each whole and below the one before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rationalrewards_core.doctor_case import PROMPT
from tests.core.fault_server import FaultServer
from tests.core.test_doctor import Judge
from workflows.source.frontend import Frontend

GOOD = ("reached", "model", "sight", "pixels", "server", "critique", "speed", "probabilities")


def graph(**engine: str) -> dict[str, Any]:
    """A judge that is checked, and a node that asks it for the picture that the doctor shows."""

    def node(kind: str, at: tuple[int, int], widgets: dict[str, Any], **wires: str) -> dict[str, Any]:
        more = {"title": "", "collapsed": False, "models": []}
        return {"type": kind, "at": at, "size": (400, 420), "widgets": widgets, "wires": wires, **more}

    nodes = {
        "load": node("RR_LoadScorer", (0, 0), {**engine, "check": True}),
        "make": node("RR_MiniatureGenerate", (450, 0), {"prompt": PROMPT}),
        "score": node("RR_MultiDimScore", (900, 0), {"prompt": PROMPT}, scorer="load.scorer", images="make.image"),
    }
    return {"id": "00000000-0000-4000-8000-00000000d0c7", "name": "check", "nodes": nodes, "groups": [], "inside": []}


def lines_on_the_node(frontend: Frontend, engine: dict[str, str], picture: Path) -> list[str]:
    """Sign, name and sentence of every line of the card; that each can be brought into sight is asserted."""
    frontend.load(frontend.build(graph(**engine))["ui"])
    frontend.show()
    frontend.queue()
    frontend.page.wait_for_selector(".rr-check li", timeout=120_000)
    frontend.idle()
    frontend.page.wait_for_timeout(800)
    frontend.show(box=[0, -40, 700, 720])
    picture.write_bytes(frontend.page.screenshot())
    card, rows = frontend.page.locator(".rr-check"), frontend.page.locator(".rr-check li")
    tops = [box["y"] for box in (rows.nth(index).bounding_box() for index in range(rows.count())) if box]
    assert len(tops) == rows.count()
    assert tops == sorted(set(tops)), "one below the other"
    for row in (rows.last, rows.first):
        row.scroll_into_view_if_needed()
        inner, outer = row.bounding_box(), card.bounding_box()
        assert inner["y"] >= outer["y"] - 1
        assert inner["y"] + inner["height"] <= outer["y"] + outer["height"] + 1
    return [" ".join(text.split()) for text in rows.all_inner_texts()]


def names(lines: list[str]) -> list[str]:
    return [" ".join(line.split()[:2]) for line in lines]


def test_a_judge_of_this_process(frontend: Frontend, pictures: Path) -> None:
    lines = lines_on_the_node(frontend, {"engine": "miniature"}, pictures / "check_miniature.png")
    assert names(lines) == [f"✓ {check}" for check in GOOD if check != "server"]
    assert lines[3].endswith("is judged at 48 x 48, 36 tokens.")


def test_a_named_server_and_what_has_become_of_it(
    frontend: Frontend, judge_server: FaultServer, pictures: Path
) -> None:
    judge_server.script = Judge()
    engine = {"engine": "server", "engine.server": "tested"}
    lines = lines_on_the_node(frontend, engine, pictures / "check_server.png")
    assert names(lines) == [f"✓ {check}" for check in GOOD]
    judge_server.script = Judge(obeys="", keeps_alternatives_back=True)  # started anew with other flags
    lines = lines_on_the_node(frontend, engine, pictures / "check_poor_server.png")
    assert "".join(line[0] for line in lines) == "✓✓✓✓!✓✓!"
    judge_server.script = Judge()
    assert "Replies are not guided" in lines[4]
