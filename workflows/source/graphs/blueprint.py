"""The loop as one subgraph, for the node library."""

from __future__ import annotations

from dataclasses import replace

from ..graph import Graph, Node
from ..parts import shown
from .sdxl_loop import GRAPH as SDXL_LOOP

KNOBS = {
    "steps": Node(type="PrimitiveInt", at=(0, 160), size=(340, 80)),
    "cfg": Node(type="PrimitiveFloat", at=(0, 280), size=(340, 80)),
    "threshold": Node(type="PrimitiveFloat", at=(0, 400), size=(340, 80)),
    "most": Node(type="PrimitiveInt", at=(0, 520), size=(340, 80)),
}
"""What wires them makes widgets of the subgraph; the values are those of the nodes inside."""


def _turned(name: str, **knobs: str) -> Node:
    node = SDXL_LOOP.nodes[name]
    return replace(node, wires={**node.wires, **knobs})


GRAPH = Graph(
    name="Generate Critique Refine",
    nodes={
        "model": SDXL_LOOP.nodes["model"],
        "negative": SDXL_LOOP.nodes["negative"],
        "size": SDXL_LOOP.nodes["size"],
        "judge": SDXL_LOOP.nodes["judge"],
        "wish": Node(type="PrimitiveStringMultiline", at=(0, 0), size=(340, 120)),
        **KNOBS,
        **{name: SDXL_LOOP.nodes[name] for name in ("positive", "decode", "critique", "refine")},
        "sampler": _turned("sampler", steps="steps.INT", cfg="cfg.FLOAT"),
        "end": _turned("end", threshold="threshold.FLOAT", max_iterations="most.INT"),
        "start": replace(SDXL_LOOP.nodes["start"], wires={"prompt": "wish.STRING"}),
        "image": shown((2400, 0), "end.best_image", "image"),
        **{
            output: Node(type="PreviewAny", at=(2400, 400), size=(300, 100), wires={"source": f"end.{output}"})
            for output in ("best_reward", "best_prompt", "best_seed", "reached")
        },
    },
)
"""`INSIDE` of it becomes a subgraph; the rest only gives the subgraph its inputs and outputs."""

DESCRIPTION = (
    "Generate, critique, refine: makes images until one scores high enough, rewords the prompt in between, and hands on the "
    "best. Its film shows every iteration and stops the loop."
)
SEARCH_ALIASES = ("loop", "loop until score", "refine prompt", "quality", "aesthetic", "rationalrewards")

INSIDE = ("start", "positive", "sampler", "decode", "critique", "refine", "end")
