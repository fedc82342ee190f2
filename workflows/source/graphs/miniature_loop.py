"""The miniature loop: the pack's own generator and judge, no download."""

from __future__ import annotations

from ..graph import Graph, Group, Node
from ..parts import MINIATURE_PROMPT, critique, judge, loop_app, loop_end, loop_start, note, refine, shown

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
            chinese=(
                "## 生成、评语、改进\n\n无需下载即可运行：节点包自带绘制彩色图形的小型生成器和相应的小型评判模型。"
                "按**运行**，观察**循环直到达标**：每次迭代都带着奖励和提示词的改动出现在胶片条中。"
                "点击图像查看完整评语；**本次迭代后停止**会保留最佳图像。换成您自己的模型时，只需替换框内的节点。"
            ),
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
    app=loop_app("best"),
)
