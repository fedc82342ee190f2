"""The loop around FLUX.1 dev."""

from __future__ import annotations

from ..graph import Graph, Group, Node
from ..parts import LOCAL_IMAGE, PHOTO_PROMPT, critique, flux_loaders, judge, loop_end, loop_start, note, refine

GRAPH = Graph(
    name="6_flux_loop",
    nodes={
        "note": note(
            (0, 0),
            (340, 380),
            "## FLUX.1 dev until it scores\n\n- `models/diffusion_models/flux1-dev.safetensors`\n"
            "- `models/text_encoders/clip_l.safetensors` and `t5xxl_fp8_e4m3fn_scaled.safetensors`\n"
            "- `models/vae/ae.safetensors`\n"
            "- the judge: the files of **TIGER-Lab/RationalRewards-8B-T2I** in `models/LLM/RationalRewards-8B-T2I/`\n\n"
            "On 24 GB set the judge's memory to *free after each run*: FLUX and the judge then take turns.",
        ),
        "judge": judge((0, 440), LOCAL_IMAGE, memory="free after each run"),
        "start": loop_start((400, 0), PHOTO_PROMPT, seed=42),
        **flux_loaders((400, 380), "flux1-dev.safetensors"),
        "size": Node(type="EmptySD3LatentImage", at=(800, 0), size=(340, 120), widgets={"width": 1024, "height": 1024}),
        "positive": Node(
            type="CLIPTextEncode",
            at=(800, 190),
            size=(340, 110),
            title="Prompt of this iteration",
            wires={"clip": "clip.CLIP", "text": "start.prompt"},
        ),
        "guidance": Node(
            type="FluxGuidance",
            at=(800, 370),
            size=(340, 70),
            widgets={"guidance": 3.5},
            wires={"conditioning": "positive.CONDITIONING"},
        ),
        "negative": Node(
            type="ConditioningZeroOut", at=(800, 510), size=(340, 50), wires={"conditioning": "positive.CONDITIONING"}
        ),
        "sampler": Node(
            type="KSampler",
            at=(800, 630),
            size=(340, 280),
            widgets={"steps": 20, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple"},
            wires={
                "model": "model.MODEL",
                "positive": "guidance.CONDITIONING",
                "negative": "negative.CONDITIONING",
                "latent_image": "size.LATENT",
                "seed": "start.seed",
            },
        ),
        "decode": Node(
            type="VAEDecode", at=(800, 980), size=(340, 60), wires={"samples": "sampler.LATENT", "vae": "vae.VAE"}
        ),
        "critique": critique((1220, 0), "decode.IMAGE"),
        "refine": refine((1220, 710)),
        "end": loop_end((1720, 0), "decode.IMAGE", threshold=0.85, iterations=6),
        "save": Node(
            type="SaveImage",
            at=(1720, 830),
            size=(520, 420),
            widgets={"filename_prefix": "rationalrewards/flux"},
            wires={"images": "end.best_image"},
        ),
    },
    groups=(Group(title="Generator", around=("size", "positive", "guidance", "negative", "sampler", "decode")),),
)
