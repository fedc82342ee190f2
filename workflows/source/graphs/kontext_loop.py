"""The loop around an edit by FLUX Kontext."""

from __future__ import annotations

from ..graph import Graph, Group, Node
from ..parts import LOCAL_EDIT, critique, flux_loaders, judge, loop_end, loop_start, note, refine

GRAPH = Graph(
    name="7_kontext_edit_loop",
    nodes={
        "note": note(
            (0, 0),
            (340, 400),
            "## FLUX Kontext: edit until it scores\n\n"
            "- `models/diffusion_models/flux1-dev-kontext_fp8_scaled.safetensors`\n"
            "- `models/text_encoders/clip_l.safetensors` and `t5xxl_fp8_e4m3fn_scaled.safetensors`\n"
            "- `models/vae/ae.safetensors`\n"
            "- the judge: the files of **TIGER-Lab/RationalRewards-8B-Edit** in `models/LLM/RationalRewards-8B-Edit/`\n\n"
            "The source image goes to the critique too, so that the judge sees what the edit should have left alone.",
        ),
        "judge": judge((0, 460), LOCAL_EDIT, memory="free after each run"),
        "start": loop_start((400, 0), "make it autumn, keep the boat as it is", seed=42),
        "source": Node(type="LoadImage", at=(400, 380), size=(340, 330), widgets={"image": "example.png"}),
        **flux_loaders((400, 790), "flux1-dev-kontext_fp8_scaled.safetensors"),
        "scale": Node(type="FluxKontextImageScale", at=(800, 0), size=(340, 50), wires={"image": "source.IMAGE"}),
        "encode": Node(
            type="VAEEncode", at=(800, 120), size=(340, 60), wires={"pixels": "scale.IMAGE", "vae": "vae.VAE"}
        ),
        "positive": Node(
            type="CLIPTextEncode",
            at=(800, 250),
            size=(340, 110),
            title="Instruction of this iteration",
            wires={"clip": "clip.CLIP", "text": "start.prompt"},
        ),
        "reference": Node(
            type="ReferenceLatent",
            at=(800, 430),
            size=(340, 60),
            wires={"conditioning": "positive.CONDITIONING", "latent": "encode.LATENT"},
        ),
        "guidance": Node(
            type="FluxGuidance",
            at=(800, 560),
            size=(340, 70),
            widgets={"guidance": 2.5},
            wires={"conditioning": "reference.CONDITIONING"},
        ),
        "negative": Node(
            type="ConditioningZeroOut", at=(800, 700), size=(340, 50), wires={"conditioning": "positive.CONDITIONING"}
        ),
        "sampler": Node(
            type="KSampler",
            at=(800, 820),
            size=(340, 280),
            widgets={"steps": 20, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple"},
            wires={
                "model": "model.MODEL",
                "positive": "guidance.CONDITIONING",
                "negative": "negative.CONDITIONING",
                "latent_image": "encode.LATENT",
                "seed": "start.seed",
            },
        ),
        "decode": Node(
            type="VAEDecode", at=(800, 1170), size=(340, 60), wires={"samples": "sampler.LATENT", "vae": "vae.VAE"}
        ),
        "critique": critique((1220, 0), "decode.IMAGE", source="scale.IMAGE"),
        "refine": refine((1220, 710)),
        "end": loop_end((1720, 0), "decode.IMAGE", threshold=0.85, iterations=6),
        "save": Node(
            type="SaveImage",
            at=(1720, 830),
            size=(520, 420),
            widgets={"filename_prefix": "rationalrewards/kontext"},
            wires={"images": "end.best_image"},
        ),
    },
    groups=(
        Group(
            title="Generator",
            around=("scale", "encode", "positive", "reference", "guidance", "negative", "sampler", "decode"),
        ),
    ),
)
