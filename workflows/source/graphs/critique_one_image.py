"""One critique of a picture of one's own, by the 8B judge."""

from __future__ import annotations

from ..graph import Graph, Node
from ..parts import LOCAL_IMAGE, PHOTO_PROMPT, critique, get_judge, judge, note, refine

GRAPH = Graph(
    name="3_critique_one_image",
    nodes={
        "note": note(
            (0, 0),
            (340, 380),
            f"## Critique an image of yours\n\nNeeds the 8B judge: {get_judge('T2I')}"
            "As nf4 it takes about 7 GB of VRAM.\n\nChoose your image, write the prompt it was made with, press **Run**. "
            "**Prompt Refine** only changes the prompt when a dimension falls below 3.",
            chinese=(
                "## 评判您自己的图像\n\n需要 8B 评判模型（见上）。选择图像，写下生成它的提示词，"
                "按**运行**。只有某个维度低于 3 分时，**改进提示词**才会改写。"
            ),
        ),
        "judge": judge((0, 440), LOCAL_IMAGE),
        "image": Node(type="LoadImage", at=(400, 0), size=(340, 360), widgets={"image": "example.png"}),
        "prompt": Node(
            type="PrimitiveStringMultiline",
            at=(400, 430),
            size=(340, 160),
            title="Prompt of the image",
            widgets={"value": PHOTO_PROMPT},
        ),
        "critique": critique((800, 0), "image.IMAGE", prompt="prompt.STRING"),
        "refine": refine((1280, 0), prompt="prompt.STRING"),
        "better": Node(
            type="PreviewAny", at=(1760, 0), size=(380, 240), title="Better prompt", wires={"source": "refine.prompt"}
        ),
        "why": Node(
            type="PreviewAny", at=(1760, 310), size=(380, 230), title="Why", wires={"source": "refine.comments"}
        ),
    },
)
