"""The loop around an edit by FLUX Kontext."""

from __future__ import annotations

from ..graph import Graph, Group, Node
from ..parts import (
    KONTEXT,
    LOCAL_EDIT,
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
    name="7_kontext_edit_loop",
    nodes={
        "note": note(
            (0, 0),
            (340, 440),
            "## FLUX Kontext: edit until it scores\n\n"
            "- `models/diffusion_models/flux1-dev-kontext_fp8_scaled.safetensors`\n"
            "- `models/text_encoders/clip_l.safetensors` and `t5xxl_fp8_e4m3fn_scaled.safetensors`\n"
            "- `models/vae/ae.safetensors`\n"
            f"- the judge: {get_judge('Edit')}"
            "The source image goes to the critique too, so that the judge sees what the edit should have left alone.",
            chinese=(
                "## FLUX Kontext：编辑直到达标\n\n所需文件见上。源图像也交给评语节点，"
                "使评判模型看到编辑不该改动的部分。"
            ),
        ),
        "judge": judge((0, 500), LOCAL_EDIT, memory="free after each run"),
        "start": loop_start((400, 0), "make it autumn, keep the boat as it is", seed=42),
        "source": Node(type="LoadImage", at=(400, 380), size=(340, 330), widgets={"image": "example.png"}),
        **flux_loaders((400, 790), KONTEXT),
        "scale": Node(type="FluxKontextImageScale", at=(800, 0), size=(340, 50), wires={"image": "source.IMAGE"}),
        "encode": Node(
            type="VAEEncode", at=(800, 120), size=(340, 60), wires={"pixels": "scale.IMAGE", "vae": "vae.VAE"}
        ),
        "positive": iteration_prompt((800, 250), "clip.CLIP", title="Instruction of this iteration"),
        "reference": Node(
            type="ReferenceLatent",
            at=(800, 430),
            size=(340, 60),
            wires={"conditioning": "positive.CONDITIONING", "latent": "encode.LATENT"},
        ),
        "guidance": flux_guidance((800, 560), 2.5, "reference.CONDITIONING"),
        "negative": no_negative((800, 700)),
        "sampler": flux_sampler((800, 820), latent="encode.LATENT"),
        "decode": decode((800, 1170), "vae.VAE"),
        "critique": critique((1220, 0), "decode.IMAGE", source="scale.IMAGE"),
        "refine": refine((1220, 710)),
        "end": loop_end((1720, 0), "decode.IMAGE", threshold=0.85, iterations=6),
        "save": save_best("kontext"),
    },
    groups=(
        Group(
            title="Generator",
            around=("scale", "encode", "positive", "reference", "guidance", "negative", "sampler", "decode"),
        ),
    ),
    app=loop_app("save"),
)
