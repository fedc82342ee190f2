"""The eight example workflows. Ours alone is exact; the others' model files go by their usual names."""

from __future__ import annotations

from dataclasses import replace

from .graph import Graph, Group, Node
from .parts import LOCAL_EDIT, LOCAL_IMAGE, critique, flux_loaders, judge, loop_end, loop_start, note, refine, shown

MINIATURE_PROMPT = "a large red circle left of a small blue square"
PHOTO_PROMPT = 'a weathered fishing boat named "AURORA" on a calm lake at dawn, two gulls on its bow'

MINIATURE_LOOP = Graph(
    name="1_miniature_loop",
    runs_anywhere=True,
    nodes={
        "note": note(
            (0, 0),
            (340, 330),
            "## Generate, critique, refine\n\nRuns without any download: the pack brings a tiny generator of coloured "
            "shapes and a tiny judge for them.\n\nPress **Run** and watch **Loop Until Score**: every iteration appears "
            "in its filmstrip, with its reward and with what changed in the prompt. Click a picture for the whole "
            "critique. **Stop after this iteration** ends the loop and keeps the best image.\n\nTo use your own "
            "models, see the SDXL, FLUX and Kontext workflows: only the nodes inside the frame change.",
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
        "end": loop_end((1320, 0), "draw.image", threshold=0.95, iterations=6),
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
)

MINIATURE_EDIT = Graph(
    name="2_miniature_edit",
    runs_anywhere=True,
    nodes={
        "note": note(
            (0, 0),
            (340, 260),
            "## Critique an edit\n\nRuns without any download. An edit is judged against its **source image** too: did "
            "it change what was asked for, and nothing else?\n\nConnect the image before the edit to *source_image*, "
            "and write the instruction as the prompt. The rubric *automatic* then becomes *edit*, with four "
            "dimensions.",
        ),
        "judge": judge((0, 320), {"engine": "miniature"}),
        "instruction": Node(
            type="PrimitiveStringMultiline",
            at=(0, 520),
            size=(340, 120),
            title="Instruction",
            widgets={"value": "make the circle green"},
        ),
        "edit": Node(
            type="RR_MiniatureGenerate",
            at=(400, 0),
            size=(540, 360),
            title="Miniature Generate (an edit)",
            widgets={
                "prompt": "a large red circle left of a small blue square",
                "seed": 7,
                "control_after_generate": "fixed",
                "scale": 8,
                "method": "render an edit",
            },
            wires={"edit": "instruction.STRING"},
        ),
        "before": shown((400, 430), "edit.source_image", "Before", size=(260, 310)),
        "after": shown((680, 430), "edit.image", "After", size=(260, 310)),
        "critique": critique((1000, 0), "edit.image", prompt="instruction.STRING", source="edit.source_image"),
        "report": Node(
            type="PreviewAny", at=(1480, 0), size=(420, 740), title="Report", wires={"source": "critique.report"}
        ),
    },
)

CRITIQUE_ONE_IMAGE = Graph(
    name="3_critique_one_image",
    nodes={
        "note": note(
            (0, 0),
            (340, 300),
            "## Critique an image of yours\n\nNeeds the 8B judge: put the files of "
            "**TIGER-Lab/RationalRewards-8B-T2I** (huggingface.co) into `models/LLM/RationalRewards-8B-T2I/`. As nf4 it "
            "takes about 7 GB of VRAM.\n\nChoose your image, write the prompt it was made with, press **Run**. "
            "**Prompt Refine** only changes the prompt when a dimension falls below 3.",
        ),
        "judge": judge((0, 360), LOCAL_IMAGE),
        "image": Node(type="LoadImage", at=(400, 0), size=(340, 360), widgets={"image": "example.png"}),
        "prompt": Node(
            type="PrimitiveStringMultiline",
            at=(400, 430),
            size=(340, 160),
            title="Prompt of the image",
            widgets={"value": PHOTO_PROMPT},
        ),
        "critique": critique((800, 0), "image.IMAGE", prompt="prompt.STRING"),
        "refine": refine((1280, 0), prompt="prompt.STRING"),
        "better": Node(
            type="PreviewAny", at=(1760, 0), size=(380, 240), title="Better prompt", wires={"source": "refine.prompt"}
        ),
        "why": Node(
            type="PreviewAny", at=(1760, 310), size=(380, 230), title="Why", wires={"source": "refine.comments"}
        ),
    },
)

BEST_OF_BATCH = Graph(
    name="4_best_of_batch_gate",
    runs_anywhere=True,
    nodes={
        "note": note(
            (0, 0),
            (340, 320),
            "## Best of a batch, behind a gate\n\nRuns without any download. **Multi-Dim Score** ranks a batch in the "
            "judge's fast mode and says whether its best image *passed*.\n\nThe core's **If/Else Switch** is lazy: the "
            "second attempt is only drawn when the first batch fails. Put an upscaler behind *on_true*, and it runs for "
            "good images only.",
        ),
        "judge": judge((0, 380), {"engine": "miniature"}),
        "prompt": Node(
            type="PrimitiveStringMultiline",
            at=(400, 0),
            size=(340, 130),
            title="Prompt",
            widgets={"value": MINIATURE_PROMPT},
        ),
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

SDXL_LOOP = Graph(
    name="5_sdxl_loop",
    nodes={
        "note": note(
            (0, 0),
            (340, 350),
            "## SDXL until it scores\n\n- `models/checkpoints/sd_xl_base_1.0.safetensors` (or any SDXL checkpoint)\n"
            "- the judge: the files of **TIGER-Lab/RationalRewards-8B-T2I** in `models/LLM/RationalRewards-8B-T2I/`\n\n"
            "Images are always judged by your *original* prompt. The loop ends at the threshold, after six images, when "
            "three in a row bring nothing, or when you press **Stop after this iteration**. The best image comes out, "
            "not the last.",
        ),
        "judge": judge((0, 410), LOCAL_IMAGE),
        "start": loop_start((400, 0), PHOTO_PROMPT, seed=42),
        "model": Node(
            type="CheckpointLoaderSimple",
            at=(400, 380),
            size=(340, 110),
            widgets={"ckpt_name": "sd_xl_base_1.0.safetensors"},
        ),
        "size": Node(type="EmptyLatentImage", at=(400, 560), size=(340, 120), widgets={"width": 1024, "height": 1024}),
        "positive": Node(
            type="CLIPTextEncode",
            at=(800, 0),
            size=(340, 110),
            title="Prompt of this iteration",
            wires={"clip": "model.CLIP", "text": "start.prompt"},
        ),
        "negative": Node(
            type="CLIPTextEncode",
            at=(800, 180),
            size=(340, 130),
            title="Negative prompt",
            widgets={"text": "blurry, deformed"},
            wires={"clip": "model.CLIP"},
        ),
        "sampler": Node(
            type="KSampler",
            at=(800, 380),
            size=(340, 280),
            widgets={"steps": 28, "cfg": 6.0, "sampler_name": "dpmpp_2m", "scheduler": "karras"},
            wires={
                "model": "model.MODEL",
                "positive": "positive.CONDITIONING",
                "negative": "negative.CONDITIONING",
                "latent_image": "size.LATENT",
                "seed": "start.seed",
            },
        ),
        "decode": Node(
            type="VAEDecode", at=(800, 730), size=(340, 60), wires={"samples": "sampler.LATENT", "vae": "model.VAE"}
        ),
        "critique": critique((1220, 0), "decode.IMAGE"),
        "refine": refine((1220, 710)),
        "end": loop_end((1720, 0), "decode.IMAGE", threshold=0.85, iterations=6),
        "save": Node(
            type="SaveImage",
            at=(1720, 830),
            size=(520, 420),
            widgets={"filename_prefix": "rationalrewards/sdxl"},
            wires={"images": "end.best_image"},
        ),
    },
    groups=(Group(title="Generator", around=("positive", "negative", "sampler", "decode")),),
)

FLUX_LOOP = Graph(
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

KONTEXT_LOOP = Graph(
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

COMFY_CLIP_LOOP = Graph(
    name="8_comfy_clip_loop",
    nodes={
        "note": note(
            (0, 0),
            (340, 400),
            "## The judge as a text encoder\n\nNeeds ComfyUI 0.26 or newer. The core loads the judge itself: its memory "
            "is managed like any text encoder's, fp8 and nvfp4 files work, no bitsandbytes is needed.\n\n"
            "- `models/text_encoders/rationalrewards_8b_t2i.safetensors`: **TIGER-Lab/RationalRewards-8B-T2I** as one "
            "file\n- `models/checkpoints/sd_xl_base_1.0.safetensors` (or any SDXL checkpoint)",
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
        "save": Node(
            type="SaveImage",
            at=(1720, 830),
            size=(520, 420),
            widgets={"filename_prefix": "rationalrewards/comfy_clip"},
            wires={"images": "end.best_image"},
        ),
    },
    groups=SDXL_LOOP.groups,
)

BLUEPRINT = Graph(
    name="Generate Critique Refine",
    nodes={
        "model": SDXL_LOOP.nodes["model"],
        "negative": SDXL_LOOP.nodes["negative"],
        "size": SDXL_LOOP.nodes["size"],
        "judge": SDXL_LOOP.nodes["judge"],
        "wish": Node(type="PrimitiveStringMultiline", at=(0, 0), size=(340, 120)),
        **{name: SDXL_LOOP.nodes[name] for name in ("positive", "sampler", "decode", "critique", "refine", "end")},
        "start": replace(SDXL_LOOP.nodes["start"], wires={"prompt": "wish.STRING"}),
        "image": shown((2400, 0), "end.best_image", "image"),
        **{
            output: Node(type="PreviewAny", at=(2400, 400), size=(300, 100), wires={"source": f"end.{output}"})
            for output in ("best_reward", "best_prompt", "best_seed", "reached")
        },
    },
)
"""`INSIDE` of it becomes a subgraph; the rest only gives the subgraph its inputs and outputs."""

INSIDE = ("start", "positive", "sampler", "decode", "critique", "refine", "end")

GRAPHS = (
    MINIATURE_LOOP,
    MINIATURE_EDIT,
    CRITIQUE_ONE_IMAGE,
    BEST_OF_BATCH,
    SDXL_LOOP,
    FLUX_LOOP,
    KONTEXT_LOOP,
    COMFY_CLIP_LOOP,
)
