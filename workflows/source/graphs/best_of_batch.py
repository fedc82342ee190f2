"""The best image of a batch, behind a gate."""

from __future__ import annotations

from ..graph import Graph, Node
from ..parts import judge, miniature_prompt, note, shown

GRAPH = Graph(
    name="4_best_of_batch_gate",
    nodes={
        "note": note(
            (0, 0),
            (340, 320),
            "## Best of a batch, behind a gate\n\nRuns without any download. **Multi-Dim Score** ranks a batch in the "
            "judge's fast mode and says whether its best image *passed*.\n\nThe core's **If/Else Switch** is lazy: the "
            "second attempt is only drawn when the first batch fails. Put an upscaler behind *on_true*, and it runs for "
            "good images only.",
            chinese=(
                "## 批次中的最佳，带门槛\n\n无需下载。**多维评分**以快速模式给批次排名，"
                "并说明最佳图像是否*通过*。核心的 **If/Else Switch** 是惰性的："
                "第一批不合格时才会绘制第二次。"
            ),
        ),
        "judge": judge((0, 380), {"engine": "miniature"}),
        "prompt": miniature_prompt(),
        "draw": Node(
            type="RR_MiniatureGenerate",
            at=(400, 200),
            size=(340, 330),
            title="First attempt: 6 images",
            widgets={"seed": 7, "control_after_generate": "fixed", "batch_size": 6, "scale": 8},
            wires={"prompt": "prompt.STRING"},
        ),
        "again": Node(
            type="RR_MiniatureGenerate",
            at=(400, 600),
            size=(340, 330),
            title="Second attempt",
            widgets={"seed": 900, "control_after_generate": "fixed", "scale": 8},
            wires={"prompt": "prompt.STRING"},
        ),
        "score": Node(
            type="RR_MultiDimScore",
            at=(800, 0),
            size=(440, 860),
            widgets={"threshold": 0.9, "minimums": "text_faithfulness=3"},
            wires={"scorer": "judge.scorer", "images": "draw.image", "prompt": "prompt.STRING"},
        ),
        "switch": Node(
            type="ComfySwitchNode",
            at=(1300, 0),
            size=(260, 110),
            title="Passed?",
            wires={"switch": "score.passed", "on_true": "score.best_image", "on_false": "again.image"},
        ),
        "best": shown((1620, 0), "switch.output", "Chosen image"),
        "ranked": shown((1620, 400), "score.ranked_images", "All, best first", size=(420, 460)),
    },
)
