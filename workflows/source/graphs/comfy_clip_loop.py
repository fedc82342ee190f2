"""The SDXL loop with the judge as a CLIP of ComfyUI's own."""

from __future__ import annotations

from ..graph import Graph, Node
from ..parts import judge, loop_app, note, save_best
from .sdxl_loop import GRAPH as SDXL_LOOP

GRAPH = Graph(
    name="8_comfy_clip_loop",
    nodes={
        "note": note(
            (0, 0),
            (340, 400),
            "## The judge as a text encoder\n\nNeeds ComfyUI 0.26 or newer. The core loads the judge itself: its memory "
            "is managed like any text encoder's, fp8 and nvfp4 files work, no bitsandbytes is needed.\n\n"
            "- `models/text_encoders/rationalrewards_8b_t2i.safetensors`: **TIGER-Lab/RationalRewards-8B-T2I** as one "
            "file\n- `models/checkpoints/sd_xl_base_1.0.safetensors` (or any SDXL checkpoint)",
            chinese=(
                "## 评判模型作为文本编码器\n\n需要 ComfyUI 0.26 或更新版本。"
                "核心自己加载评判模型并管理其内存；可用 fp8 和 nvfp4 文件，不需要 bitsandbytes。"
            ),
        ),
        "qwen": Node(
            type="CLIPLoader",
            at=(0, 460),
            size=(340, 120),
            title="Load CLIP (the judge)",
            widgets={"clip_name": "rationalrewards_8b_t2i.safetensors", "type": "stable_diffusion"},
        ),
        "judge": judge((0, 650), {"engine": "comfy_clip"}, wires={"engine.clip": "qwen.CLIP"}),
        **{name: node for name, node in SDXL_LOOP.nodes.items() if name not in ("note", "judge", "save")},
        "save": save_best("comfy_clip"),
    },
    groups=SDXL_LOOP.groups,
    app=loop_app("save"),
)
