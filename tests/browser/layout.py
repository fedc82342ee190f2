"""Where the page really shows nodes: in Nodes 2.0 they may be higher than they say, and than they were saved."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from workflows.source.frontend import Frontend

CLEAR = 10
"""Units of the canvas that lie between two nodes, at least."""

BOXES = """() => {
  const { scale, offset } = app.canvas.ds, canvas = app.canvas.canvas.getBoundingClientRect();
  const shown = (element) => {
    const { x, y, width, height } = element.getBoundingClientRect();
    return [(x - canvas.x) / scale - offset[0], (y - canvas.y) / scale - offset[1], width / scale, height / scale];
  };
  return app.canvas.graph.nodes.map((node) => {
    const element = LiteGraph.vueNodesMode ? document.querySelector(`[data-node-id="${node.id}"]`) : null;
    if (LiteGraph.vueNodesMode && !element) throw new Error(`${node.title} is not in the page`);
    return [node.title, node.comfyClass ?? node.type, ...(element ? shown(element) : node.boundingRect)];
  });
}"""
FRAMES = "() => app.canvas.graph.groups.map(({ title, pos, size }) => [title, 'group', ...pos, ...size])"


@dataclass(frozen=True)
class Box:
    """A node with its title, or the frame of a group, in units of the canvas."""

    title: str
    kind: str
    left: float
    top: float
    width: float
    height: float

    def room_to(self, other: Box) -> float:
        """Between their sides; below 0 where one lies on the other."""
        across = max(self.left, other.left) - min(self.left + self.width, other.left + other.width)
        down = max(self.top, other.top) - min(self.top + self.height, other.top + other.height)
        return max(across, down)

    def holds(self, other: Box) -> bool:
        return (
            self.left <= other.left
            and self.top <= other.top
            and other.left + other.width <= self.left + self.width
            and other.top + other.height <= self.top + self.height
        )


def boxes_of(frontend: Frontend) -> list[Box]:
    """Of all nodes, once none of them grows any more."""
    frontend.show()
    last = None
    for _ in range(20):
        boxes = [Box(*box) for box in frontend.page.evaluate(BOXES)]
        if boxes == last:
            return boxes
        last = boxes
        frontend.page.wait_for_timeout(300)
    raise AssertionError(f"nodes did not come to rest: {last}")


def crowded(boxes: list[Box]) -> list[str]:
    """Pairs of nodes without clear room between them."""
    return [
        f"{one.title} and {other.title}: {one.room_to(other):.0f}"
        for one, other in combinations(boxes, 2)
        if one.room_to(other) < CLEAR
    ]


def cut(frontend: Frontend, boxes: list[Box]) -> list[str]:
    """Nodes on the border of a group's frame: neither in it nor apart from it."""
    frames = [Box(*frame) for frame in frontend.page.evaluate(FRAMES)]
    return [
        f"{frame.title} cuts {box.title}"
        for frame in frames
        for box in boxes
        if frame.room_to(box) < 0 and not frame.holds(box)
    ]
