"""The miniature loop: the pack's own generator and judge, no download."""

from __future__ import annotations

from ..graph import Graph, Group, Node
from ..parts import MINIATURE_PROMPT, critique, judge, loop_end, loop_start, note, refine, shown

GRAPH = Graph(
    name="1_miniature_loop",
    nodes={
        "note": note(
            (0, 0),
            (340, 330),
            "## Generate, critique, refine\n\nRuns without any download: the pack brings a tiny generator of coloured "
            "shapes and a tiny judge for them.\n\nPress **Run** and watch **Loop Until Score**: every iteration appears "
            "in its filmstrip, with its reward and with what changed in the prompt. Click a picture for the whole "
            "critique. **Stop after this iteration** ends the loop and keeps the best image.\n\nTo use your own "
            "models, see the SDXL, FLUX and Kontext workflows: only the nodes inside the frame change.",
        ),
        "judge": judge((0, 390), {"engine": "miniature"}),
        "start": loop_start((400, 0), MINIATURE_PROMPT, seed=3),
        "draw": Node(
            type="RR_MiniatureGenerate",
            at=(400, 420),
            size=(340, 330),
            widgets={"scale": 8},
            wires={"prompt": "start.prompt", "seed": "start.seed"},
        ),
        "critique": critique((820, 0), "draw.image"),
        "refine": refine((820, 710)),
        "end": loop_end((1320, 0), "draw.image", threshold=0.8, iterations=6),
        "best": shown((1320, 830), "end.best_image", "Best image", size=(260, 330)),
        "words": Node(
            type="PreviewAny",
            at=(1600, 830),
            size=(240, 330),
            title="Best prompt",
            wires={"source": "end.best_prompt"},
        ),
    },
    groups=(Group(title="Your own generator goes here", around=("draw",)),),
)
