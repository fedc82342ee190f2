"""The loop around SDXL."""

from __future__ import annotations

from ..graph import Graph, Group, Node
from ..parts import (
    LOCAL_IMAGE,
    PHOTO_PROMPT,
    SDXL,
    critique,
    decode,
    get_judge,
    iteration_prompt,
    judge,
    loop_app,
    loop_end,
    loop_start,
    note,
    refine,
    sampler,
    save_best,
)

GRAPH = Graph(
    name="5_sdxl_loop",
    nodes={
        "note": note(
            (0, 0),
            (340, 420),
            "## SDXL until it scores\n\n- `models/checkpoints/sd_xl_base_1.0.safetensors` (or any SDXL checkpoint)\n"
            f"- the judge: {get_judge('T2I')}"
            "Images are always judged by your *original* prompt. The loop ends at the threshold, after six images, when "
            "three in a row bring nothing, or when you press **Stop after this iteration**. The best image comes out, "
            "not the last.",
            chinese=(
                "## SDXL 直到达标\n\n所需文件见上。图像始终按您的*原始*提示词评判。达到阈值、六张图像之后、"
                "连续三张没有改进，或您按下**本次迭代后停止**时，循环结束，交出最佳图像。"
            ),
        ),
        "judge": judge((0, 480), LOCAL_IMAGE),
        "start": loop_start((400, 0), PHOTO_PROMPT, seed=42),
        "model": Node(
            type="CheckpointLoaderSimple",
            at=(400, 380),
            size=(340, 110),
            widgets={"ckpt_name": SDXL.name},
            models=(SDXL,),
        ),
        "size": Node(type="EmptyLatentImage", at=(400, 560), size=(340, 120), widgets={"width": 1024, "height": 1024}),
        "positive": iteration_prompt((800, 0), "model.CLIP"),
        "negative": Node(
            type="CLIPTextEncode",
            at=(800, 180),
            size=(340, 130),
            title="Negative prompt",
            widgets={"text": "blurry, deformed"},
            wires={"clip": "model.CLIP"},
        ),
        "sampler": sampler(
            (800, 380),
            positive="positive.CONDITIONING",
            latent="size.LATENT",
            steps=28,
            cfg=6.0,
            method="dpmpp_2m",
            scheduler="karras",
        ),
        "decode": decode((800, 730), "model.VAE"),
        "critique": critique((1220, 0), "decode.IMAGE"),
        "refine": refine((1220, 710)),
        "end": loop_end((1720, 0), "decode.IMAGE", threshold=0.85, iterations=6),
        "save": save_best("sdxl"),
    },
    groups=(Group(title="Generator", around=("positive", "negative", "sampler", "decode")),),
    app=loop_app("save"),
)
