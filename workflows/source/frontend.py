"""The real frontend in a headless Chromium: for exporting the workflows, and for the browser tests."""

from __future__ import annotations

import json
import shutil
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
READY = "() => window.app?.extensionManager && window.app.graph && document.querySelector('#graph-canvas')"
QUIET = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Minimap.Visible": False,
    "Comfy.Notification.ShowVersionUpdates": False,
    "LiteGraph.Canvas.MinFontSizeForLOD": 0,
}
"""Settings that keep first-run windows out of the way, and text in sight when the graph is small."""


def find_chromium() -> str | None:
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


class Frontend:
    """One page of a running ComfyUI; `page` is Playwright's."""

    def __init__(self, page: Any, address: str) -> None:
        self.page, self.address = page, address
        self.errors: list[str] = []
        """Exceptions that nothing in the page caught."""
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, *, nodes_2: bool = False, theme: str = "dark", language: str = "en") -> None:
        wished = {"Comfy.VueNodes.Enabled": nodes_2, "Comfy.ColorPalette": theme, "Comfy.Locale": language, **QUIET}
        for name, value in wished.items():
            self._post(f"/api/settings/{name}", value)
        self.page.goto(self.address)
        self.wait()

    def wait(self) -> None:
        """Until the page can take a workflow; ComfyUI's own first workflow may still be loading just before."""
        self.page.wait_for_function(READY, timeout=60_000)
        self.page.wait_for_function("() => window.app.graph.nodes.length > 0 || window.app.vueAppReady", timeout=30_000)
        self.page.wait_for_timeout(1000)

    def load(self, workflow: dict[str, Any], name: str = "workflow") -> None:
        """Open a workflow in its UI form, as dropping its file on the canvas does."""
        self.page.evaluate("([graph, name]) => app.loadGraphData(graph, true, true, name)", [workflow, name])
        self.page.wait_for_timeout(600)

    def build(self, graph: dict[str, Any]) -> dict[str, Any]:
        """Make a workflow out of nodes, widgets and wires; gives {"ui": ..., "api": ...}."""
        script = (HERE / "build_graph.js").read_text(encoding="utf-8")
        return dict(self.page.evaluate(script, graph))

    def queue(self) -> None:
        self.page.evaluate("() => app.queuePrompt(0)")

    def executed(self, node_type: str, output: dict[str, Any], prompt_id: str = "none") -> None:
        """As if the server had sent the output of the first node of this type."""
        # What the page asks the server because of it is answered before a question that comes later.
        script = """async ([type, output, prompt_id]) => {
          const node = String(app.graph.nodes.find(n => n.type === type).id);
          app.api.dispatchCustomEvent("executed", {node, display_node: node, prompt_id, output});
          await (await fetch("/queue")).text();
        }"""
        self.page.evaluate(script, [node_type, output, prompt_id])
        self.page.wait_for_timeout(300)

    def idle(self, seconds: float = 120) -> None:
        """Until the server has nothing left to do; TimeoutError if it never has."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with urllib.request.urlopen(f"{self.address}/queue") as answer:
                queue = json.load(answer)
            if not queue["queue_running"] and not queue["queue_pending"]:
                return
            self.page.wait_for_timeout(300)  # lets the page work, as time.sleep would not
        raise TimeoutError(f"the server was still busy after {seconds:g} seconds")

    def prompt(self) -> dict[str, Any]:
        """The API form of the workflow that is open."""
        return dict(self.page.evaluate("async () => (await app.graphToPrompt()).output"))

    def unknown_nodes(self) -> list[str]:
        """Nodes whose type this ComfyUI does not know."""
        return list(
            self.page.evaluate(
                "() => app.graph.nodes.filter(n => !(n.type in LiteGraph.registered_node_types) && !n.subgraph).map(n => n.type)"
            )
        )

    def red_nodes(self) -> list[str]:
        """Types of the nodes that show an error."""
        return list(self.page.evaluate("() => app.graph.nodes.filter(n => n.has_errors).map(n => n.type)"))

    def show(self, *, margin: float = 0.92, box: list[float] | None = None) -> None:
        """Bring the whole graph, or a box [x, y, width, height] of it, into sight."""
        self.page.evaluate(
            """([margin, box]) => {
              const nodes = app.graph.nodes, canvas = app.canvas.canvas.getBoundingClientRect();
              const left = box?.[0] ?? Math.min(...nodes.map(n => n.pos[0])), top = box?.[1] ?? Math.min(...nodes.map(n => n.pos[1])) - 40;
              const width = box?.[2] ?? Math.max(...nodes.map(n => n.pos[0] + n.size[0])) - left;
              const low = n => n.pos[1] + (n.flags.collapsed ? 0 : n.size[1]);
              const height = box?.[3] ?? Math.max(...nodes.map(low)) - top;
              const ds = app.canvas.ds;
              ds.scale = Math.min(canvas.width / width, canvas.height / height) * margin;
              ds.offset = [canvas.width / ds.scale / 2 - left - width / 2, canvas.height / ds.scale / 2 - top - height / 2];
              app.canvas.setDirty(true, true);
            }""",
            [margin, box],
        )
        self.page.wait_for_timeout(700)

    def _post(self, path: str, value: Any) -> None:
        request = urllib.request.Request(
            self.address + path, json.dumps(value).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        urllib.request.urlopen(request).close()


@contextmanager
def opened(address: str, *, width: int = 1440, height: int = 900, density: float = 1) -> Iterator[Frontend]:
    """A new browser with one page; RuntimeError without Chromium."""
    from playwright.sync_api import sync_playwright

    chromium = find_chromium()
    if chromium is None:
        raise RuntimeError("There is no Chromium; install Debian's package `chromium`.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=density)
        try:
            yield Frontend(page, address)
        finally:
            browser.close()
