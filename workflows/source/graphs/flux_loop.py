"""The loop around FLUX.1 dev."""

from __future__ import annotations

from ..graph import Graph, Group, Node
from ..parts import (
    FLUX,
    LOCAL_IMAGE,
    PHOTO_PROMPT,
    critique,
    decode,
    flux_guidance,
    flux_loaders,
    flux_sampler,
    get_judge,
    iteration_prompt,
    judge,
    loop_app,
    loop_end,
    loop_start,
    no_negative,
    note,
    refine,
    save_best,
)

GRAPH = Graph(
    name="6_flux_loop",
    nodes={
        "note": note(
            (0, 0),
            (340, 440),
            "## FLUX.1 dev until it scores\n\n- `models/diffusion_models/flux1-dev.safetensors`\n"
            "- `models/text_encoders/clip_l.safetensors` and `t5xxl_fp8_e4m3fn_scaled.safetensors`\n"
            "- `models/vae/ae.safetensors`\n"
            f"- the judge: {get_judge('T2I')}"
            "On 24 GB set the judge's memory to *free after each run*: FLUX and the judge then take turns.",
            chinese=(
                "## FLUX.1 dev 直到达标\n\n所需文件见上。24 GB 显存时，"
                "请把评判模型的“内存”设为 *free after each run*，"
                "让 FLUX 与评判模型轮流使用显存。"
            ),
        ),
        "judge": judge((0, 500), LOCAL_IMAGE, memory="free after each run"),
        "start": loop_start((400, 0), PHOTO_PROMPT, seed=42),
        **flux_loaders((400, 380), FLUX),
        "size": Node(type="EmptySD3LatentImage", at=(800, 0), size=(340, 120), widgets={"width": 1024, "height": 1024}),
        "positive": iteration_prompt((800, 190), "clip.CLIP"),
        "guidance": flux_guidance((800, 370), 3.5, "positive.CONDITIONING"),
        "negative": no_negative((800, 510)),
        "sampler": flux_sampler((800, 630), latent="size.LATENT"),
        "decode": decode((800, 980), "vae.VAE"),
        "critique": critique((1220, 0), "decode.IMAGE"),
        "refine": refine((1220, 710)),
        "end": loop_end((1720, 0), "decode.IMAGE", threshold=0.85, iterations=6),
        "save": save_best("flux"),
    },
    groups=(Group(title="Generator", around=("size", "positive", "guidance", "negative", "sampler", "decode")),),
    app=loop_app("save"),
)
