"""Prompts and nodes that several workflows share."""

from __future__ import annotations

from collections.abc import Mapping

from .graph import App, ModelFile, Node, Widget

MINIATURE_PROMPT = "a large red circle left of a small blue square"
PHOTO_PROMPT = 'a weathered fishing boat named "AURORA" on a calm lake at dawn, two gulls on its bow'
LOCAL_IMAGE: Mapping[str, Widget] = {"engine": "local", "engine.checkpoint": "LLM/RationalRewards-8B-T2I"}
LOCAL_EDIT: Mapping[str, Widget] = {"engine": "local", "engine.checkpoint": "LLM/RationalRewards-8B-Edit"}

Corner = tuple[int, int]

_HUB = "https://huggingface.co"
SDXL = ModelFile(
    name="sd_xl_base_1.0.safetensors",
    url=f"{_HUB}/stabilityai/stable-diffusion-xl-base-1.0/resolve/main/sd_xl_base_1.0.safetensors",
    directory="checkpoints",
)
FLUX = ModelFile(
    name="flux1-dev.safetensors",
    url=f"{_HUB}/Comfy-Org/flux1-dev/resolve/main/flux1-dev.safetensors",
    directory="diffusion_models",
)
KONTEXT = ModelFile(
    name="flux1-dev-kontext_fp8_scaled.safetensors",
    url=f"{_HUB}/Comfy-Org/flux1-kontext-dev_ComfyUI/resolve/main/split_files/diffusion_models/"
    "flux1-dev-kontext_fp8_scaled.safetensors",
    directory="diffusion_models",
)
CLIP_L = ModelFile(
    name="clip_l.safetensors",
    url=f"{_HUB}/comfyanonymous/flux_text_encoders/resolve/main/clip_l.safetensors",
    directory="text_encoders",
)
T5 = ModelFile(
    name="t5xxl_fp8_e4m3fn_scaled.safetensors",
    url=f"{_HUB}/comfyanonymous/flux_text_encoders/resolve/main/t5xxl_fp8_e4m3fn_scaled.safetensors",
    directory="text_encoders",
)
AE = ModelFile(
    name="ae.safetensors",
    url=f"{_HUB}/Comfy-Org/Lumina_Image_2.0_Repackaged/resolve/main/split_files/vae/ae.safetensors",
    directory="vae",
)


def get_judge(kind: str) -> str:
    """How a note says where the judge is (`T2I` or `Edit`): a folder of files, which the frontend cannot fetch itself."""
    name = f"RationalRewards-8B-{kind}"
    return (
        f"[TIGER-Lab/{name}]({_HUB}/TIGER-Lab/{name}) (all files, about 18 GB) in `models/LLM/{name}/`; in ComfyUI's "
        f"folder:\n\n```\nhf download TIGER-Lab/{name} --local-dir models/LLM/{name}\n```\n\n"
    )


def note(at: Corner, size: tuple[int, int], text: str, *, chinese: str) -> Node:
    """A template has one file for all languages, so its note says the main things again in Chinese."""
    return Node(type="MarkdownNote", at=at, size=size, title="Read me", widgets={"": f"{text}\n\n---\n\n{chinese}"})


def judge(
    at: Corner,
    engine: Mapping[str, Widget],
    *,
    memory: str = "keep loaded",
    wires: Mapping[str, str] | None = None,
) -> Node:
    tall = 300 if engine["engine"] == "local" else 170
    return Node(type="RR_LoadScorer", at=at, size=(340, tall), widgets={**engine, "memory": memory}, wires=wires or {})


def loop_start(at: Corner, prompt: str, *, seed: int) -> Node:
    return Node(
        type="RR_LoopStart",
        at=at,
        size=(340, 310),
        widgets={"prompt": prompt, "seed": seed, "control_after_generate": "fixed"},
    )


def critique(at: Corner, image: str, *, prompt: str = "start.original_prompt", source: str | None = None) -> Node:
    wires = {"scorer": "judge.scorer", "image": image, "prompt": prompt}
    if source is not None:
        wires["source_image"] = source
    return Node(type="RR_RationalCritique", at=at, size=(420, 640), wires=wires)


def refine(at: Corner, *, prompt: str = "start.prompt") -> Node:
    return Node(
        type="RR_PromptRefine", at=at, size=(420, 640), wires={"critique": "critique.critique", "prompt": prompt}
    )


def loop_end(at: Corner, image: str, *, threshold: float, iterations: int) -> Node:
    return Node(
        type="RR_LoopUntilScore",
        at=at,
        size=(520, 760),
        widgets={"threshold": threshold, "max_iterations": iterations},
        wires={
            "flow": "start.flow",
            "image": image,
            "critique": "critique.critique",
            "refined_prompt": "refine.prompt",
        },
    )


def loop_app(output: str, *, before: tuple[str, ...] = ()) -> App:
    """A loop in app mode: what is wished, the film with its rewards and its button to stop, and what is enough."""
    knobs = ("end.threshold", "end.max_iterations", "start.seed")
    return App(inputs=(*before, "start.prompt", "end.rr_filmstrip", *knobs), outputs=(output,))


def shown(at: Corner, image: str, title: str, *, size: tuple[int, int] = (320, 330)) -> Node:
    return Node(type="PreviewImage", at=at, size=size, title=title, wires={"images": image})


def sampler(at: Corner, *, positive: str, latent: str, steps: int, cfg: float, method: str, scheduler: str) -> Node:
    """A KSampler with the seed of the iteration."""
    return Node(
        type="KSampler",
        at=at,
        size=(340, 280),
        widgets={"steps": steps, "cfg": cfg, "sampler_name": method, "scheduler": scheduler},
        wires={
            "model": "model.MODEL",
            "positive": positive,
            "negative": "negative.CONDITIONING",
            "latent_image": latent,
            "seed": "start.seed",
        },
    )


def flux_sampler(at: Corner, *, latent: str) -> Node:
    return sampler(
        at, positive="guidance.CONDITIONING", latent=latent, steps=20, cfg=1.0, method="euler", scheduler="simple"
    )


def flux_guidance(at: Corner, guidance: float, conditioning: str) -> Node:
    return Node(
        type="FluxGuidance",
        at=at,
        size=(340, 70),
        widgets={"guidance": guidance},
        wires={"conditioning": conditioning},
    )


def no_negative(at: Corner) -> Node:
    return Node(type="ConditioningZeroOut", at=at, size=(340, 50), wires={"conditioning": "positive.CONDITIONING"})


def iteration_prompt(at: Corner, clip: str, *, title: str = "Prompt of this iteration") -> Node:
    return Node(
        type="CLIPTextEncode", at=at, size=(340, 110), title=title, wires={"clip": clip, "text": "start.prompt"}
    )


def decode(at: Corner, vae: str) -> Node:
    return Node(type="VAEDecode", at=at, size=(340, 60), wires={"samples": "sampler.LATENT", "vae": vae})


def save_best(name: str) -> Node:
    """The loop's best image, kept beside Loop Until Score."""
    return Node(
        type="SaveImage",
        at=(1720, 830),
        size=(520, 420),
        widgets={"filename_prefix": f"rationalrewards/{name}"},
        wires={"images": "end.best_image"},
    )


def miniature_prompt() -> Node:
    return Node(
        type="PrimitiveStringMultiline",
        at=(400, 0),
        size=(340, 130),
        title="Prompt",
        widgets={"value": MINIATURE_PROMPT},
    )


def flux_loaders(at: Corner, model: ModelFile) -> dict[str, Node]:
    x, y = at
    return {
        "model": Node(
            type="UNETLoader",
            at=(x, y),
            size=(340, 90),
            widgets={"unet_name": model.name, "weight_dtype": "fp8_e4m3fn" if "fp8" not in model.name else "default"},
            models=(model,),
        ),
        "clip": Node(
            type="DualCLIPLoader",
            at=(x, y + 160),
            size=(340, 140),
            widgets={
                "clip_name1": CLIP_L.name,
                "clip_name2": T5.name,
                "type": "flux",
            },
            models=(CLIP_L, T5),
        ),
        "vae": Node(type="VAELoader", at=(x, y + 370), size=(340, 70), widgets={"vae_name": AE.name}, models=(AE,)),
    }
