"""The loop around SDXL image to image: each iteration goes on from the best image so far."""

from __future__ import annotations

from dataclasses import replace

from ..graph import Graph, Group, Node
from ..parts import get_judge, loop_app, note, save_best
from .sdxl_loop import GRAPH as SDXL_LOOP

REPLACED = ("note", "size", "sampler", "start", "save")

GRAPH = Graph(
    name="10_img2img_loop",
    nodes={
        "note": note(
            (0, 0),
            (340, 420),
            "## Go on from the best image so far\n\n- `models/checkpoints/sd_xl_base_1.0.safetensors` (or any SDXL "
            f"checkpoint)\n- the judge: {get_judge('T2I')}"
            "Choose the image to begin with. **Loop Start** hands it on in the first iteration, and the best image so far "
            "in every later one: nothing that was good is lost. *denoise* of the sampler says how much an iteration may "
            "change.",
            chinese=(
                "## 从目前的最佳图像继续\n\n所需文件见上。选择起始图像。第一次迭代由**循环开始**交出它，"
                "之后每次交出目前的最佳图像。采样器的 *denoise* 决定一次迭代可以改变多少。"
            ),
        ),
        "source": Node(type="LoadImage", at=(400, 730), size=(340, 350), widgets={"image": "example.png"}),
        "start": replace(SDXL_LOOP.nodes["start"], wires={"image": "scale.IMAGE"}),
        "scale": Node(
            type="ImageScaleToTotalPixels",
            at=(400, 1150),
            size=(340, 110),
            widgets={"upscale_method": "lanczos", "megapixels": 1.0},
            wires={"image": "source.IMAGE"},
        ),
        "encode": Node(
            type="VAEEncode", at=(400, 600), size=(340, 60), wires={"pixels": "start.image", "vae": "model.VAE"}
        ),
        **{name: node for name, node in SDXL_LOOP.nodes.items() if name not in REPLACED},
        "sampler": replace(
            SDXL_LOOP.nodes["sampler"],
            widgets={**SDXL_LOOP.nodes["sampler"].widgets, "denoise": 0.55},
            wires={**SDXL_LOOP.nodes["sampler"].wires, "latent_image": "encode.LATENT"},
        ),
        "save": save_best("img2img"),
    },
    groups=(
        Group(title="Generator", around=("positive", "negative", "sampler", "decode")),
        Group(title="Goes on from", around=("encode",)),
    ),
    app=loop_app("save", before=("source.image",)),
)
