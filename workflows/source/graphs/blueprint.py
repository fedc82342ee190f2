"""The loop as one subgraph, for the node library."""

from __future__ import annotations

from dataclasses import replace

from ..graph import Graph, Node
from ..parts import shown
from .sdxl_loop import GRAPH as SDXL_LOOP

GRAPH = Graph(
    name="Generate Critique Refine",
    nodes={
        "model": SDXL_LOOP.nodes["model"],
        "negative": SDXL_LOOP.nodes["negative"],
        "size": SDXL_LOOP.nodes["size"],
        "judge": SDXL_LOOP.nodes["judge"],
        "wish": Node(type="PrimitiveStringMultiline", at=(0, 0), size=(340, 120)),
        **{name: SDXL_LOOP.nodes[name] for name in ("positive", "sampler", "decode", "critique", "refine", "end")},
        "start": replace(SDXL_LOOP.nodes["start"], wires={"prompt": "wish.STRING"}),
        "image": shown((2400, 0), "end.best_image", "image"),
        **{
            output: Node(type="PreviewAny", at=(2400, 400), size=(300, 100), wires={"source": f"end.{output}"})
            for output in ("best_reward", "best_prompt", "best_seed", "reached")
        },
    },
)
"""`INSIDE` of it becomes a subgraph; the rest only gives the subgraph its inputs and outputs."""

INSIDE = ("start", "positive", "sampler", "decode", "critique", "refine", "end")
