"""One critique of an edit, by the miniature judge."""

from __future__ import annotations

from ..graph import Graph, Node
from ..parts import critique, judge, note, shown

GRAPH = Graph(
    name="2_miniature_edit",
    nodes={
        "note": note(
            (0, 0),
            (340, 260),
            "## Critique an edit\n\nRuns without any download. An edit is judged against its **source image** too: did "
            "it change what was asked for, and nothing else?\n\nConnect the image before the edit to *source_image*, "
            "and write the instruction as the prompt. The rubric *automatic* then becomes *edit*, with four "
            "dimensions.",
            chinese=(
                "## 评判一次编辑\n\n无需下载。编辑结果还会与**源图像**比较：是否做了所要求的改动，"
                "且没有改动别处？把编辑前的图像接到*源图像*，把指令写成提示词。"
            ),
        ),
        "judge": judge((0, 510), {"engine": "miniature"}),
        "instruction": Node(
            type="PrimitiveStringMultiline",
            at=(0, 330),
            size=(340, 120),
            title="Instruction",
            widgets={"value": "make the circle green"},
        ),
        "edit": Node(
            type="RR_MiniatureGenerate",
            at=(400, 0),
            size=(540, 360),
            title="Miniature Generate (an edit)",
            widgets={
                "prompt": "a large red circle left of a small blue square",
                "seed": 7,
                "control_after_generate": "fixed",
                "scale": 8,
                "method": "render an edit",
            },
            wires={"edit": "instruction.STRING"},
        ),
        "before": shown((400, 430), "edit.source_image", "Before", size=(260, 310)),
        "after": shown((680, 430), "edit.image", "After", size=(260, 310)),
        "critique": critique((1000, 0), "edit.image", prompt="instruction.STRING", source="edit.source_image"),
        "report": Node(
            type="PreviewAny", at=(1480, 0), size=(420, 740), title="Report", wires={"source": "critique.report"}
        ),
    },
)
