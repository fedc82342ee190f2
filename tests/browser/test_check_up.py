"""`check` on Load Rational Scorer: the doctor's lines stand on the node, whole and one below the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rationalrewards_core.doctor_case import PROMPT
from tests.core.fault_server import FaultServer
from tests.core.test_doctor import Judge
from workflows.source.frontend import Frontend

TEXT = """() => {
  const node = app.graph.nodes.find((one) => one.type === "RR_LoadScorer");
  return node.widgets.find((one) => one.name === "$$node-text-preview")?.value ?? "";
}"""


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
    frontend.load(frontend.build(graph(**engine))["ui"])
    frontend.show()
    frontend.queue()
    frontend.idle()
    frontend.page.wait_for_timeout(500)
    frontend.show(box=[0, -40, 900, 700])
    picture.write_bytes(frontend.page.screenshot())
    return str(frontend.page.evaluate(TEXT)).splitlines()


def test_a_judge_of_this_process(frontend: Frontend, pictures: Path) -> None:
    lines = lines_on_the_node(frontend, {"engine": "miniature"}, pictures / "check_miniature.png")
    assert [line.split(":")[0] for line in lines] == [
        f"✓ {check}" for check in ("reached", "model", "sight", "pixels", "critique", "speed", "probabilities")
    ]
    assert "48 x 48, 36 tokens" in lines[3]


def test_a_named_server(frontend: Frontend, judge_server: FaultServer, pictures: Path) -> None:
    engine = {"engine": "server", "engine.server": "tested"}
    lines = lines_on_the_node(frontend, engine, pictures / "check_server.png")
    checks = ("reached", "model", "sight", "pixels", "server", "critique", "speed", "probabilities")
    assert [line.split(":")[0] for line in lines] == [f"✓ {check}" for check in checks]
    judge_server.script = Judge(obeys="", keeps_alternatives_back=True)
    lines = lines_on_the_node(frontend, engine, pictures / "check_poor_server.png")
    assert [line[0] for line in lines] == list("✓✓✓✓!✓✓!")
    assert "Replies are not guided" in lines[4]
