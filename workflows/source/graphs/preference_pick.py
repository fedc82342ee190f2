"""Picks of one's own, from which a judge can be trained."""

from __future__ import annotations

from ..graph import Graph, Node
from ..parts import judge, miniature_prompt, note

GRAPH = Graph(
    name="9_preference_pick",
    nodes={
        "note": note(
            (0, 0),
            (340, 400),
            "## Teach a judge your taste\n\nRuns without any download. Press **Run**, and click the better image in "
            "**Preference Pick** (or press its number; T is a tie, B is *all bad*). The queue never waits: run ten times "
            "and pick later, every question is kept.\n\n**Multi-Dim Score** is collapsed on purpose: its verdict is kept "
            "beside your pick, and must not sway you. *Judge agrees* counts how often it would have picked the same.\n\n"
            "**Export** writes a folder that `python -m training.parrot` reads. For your own images, put your sampler in "
            "the place of **Miniature Generate**.",
            chinese=(
                "## 教评判模型您的品味\n\n无需下载。按**运行**，"
                "在**偏好选择**中点击更好的图像（或按其编号；T 平局，B 都不好）。队列从不等待，每个问题都会保留。"
                "**多维评分**特意折叠，以免影响您。**导出**会写出训练可读的文件夹。"
            ),
        ),
        "judge": judge((0, 460), {"engine": "miniature"}),
        "prompt": miniature_prompt(),
        "draw": Node(
            type="RR_MiniatureGenerate",
            at=(400, 200),
            size=(340, 330),
            title="Four candidates",
            widgets={"seed": 0, "control_after_generate": "randomize", "batch_size": 4, "scale": 8},
            wires={"prompt": "prompt.STRING"},
        ),
        "score": Node(
            type="RR_MultiDimScore",
            at=(400, 610),
            size=(340, 860),
            collapsed=True,
            wires={"scorer": "judge.scorer", "images": "draw.image", "prompt": "prompt.STRING"},
        ),
        "pick": Node(
            type="RR_PreferencePick",
            at=(800, 0),
            size=(560, 760),
            widgets={"dataset": "mine"},
            wires={"images": "draw.image", "prompt": "prompt.STRING", "critique": "score.critique"},
        ),
        "summary": Node(
            type="PreviewAny", at=(1420, 0), size=(300, 180), title="The collection", wires={"source": "pick.summary"}
        ),
    },
)
