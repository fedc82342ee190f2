"""Prompts and nodes that several workflows share."""

from __future__ import annotations

from collections.abc import Mapping

from .graph import Node, Widget

MINIATURE_PROMPT = "a large red circle left of a small blue square"
PHOTO_PROMPT = 'a weathered fishing boat named "AURORA" on a calm lake at dawn, two gulls on its bow'
LOCAL_IMAGE: Mapping[str, Widget] = {"engine": "local", "engine.checkpoint": "LLM/RationalRewards-8B-T2I"}
LOCAL_EDIT: Mapping[str, Widget] = {"engine": "local", "engine.checkpoint": "LLM/RationalRewards-8B-Edit"}

Corner = tuple[int, int]


def note(at: Corner, size: tuple[int, int], text: str) -> Node:
    return Node(type="MarkdownNote", at=at, size=size, title="Read me", widgets={"": text})


def judge(
    at: Corner,
    engine: Mapping[str, Widget],
    *,
    memory: str = "keep loaded",
    wires: Mapping[str, str] | None = None,
) -> Node:
    tall = 300 if engine["engine"] == "local" else 150
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


def shown(at: Corner, image: str, title: str, *, size: tuple[int, int] = (320, 330)) -> Node:
    return Node(type="PreviewImage", at=at, size=size, title=title, wires={"images": image})


def flux_loaders(at: Corner, model: str) -> dict[str, Node]:
    x, y = at
    return {
        "model": Node(
            type="UNETLoader",
            at=(x, y),
            size=(340, 90),
            widgets={"unet_name": model, "weight_dtype": "fp8_e4m3fn" if "fp8" not in model else "default"},
        ),
        "clip": Node(
            type="DualCLIPLoader",
            at=(x, y + 160),
            size=(340, 140),
            widgets={
                "clip_name1": "clip_l.safetensors",
                "clip_name2": "t5xxl_fp8_e4m3fn_scaled.safetensors",
                "type": "flux",
            },
        ),
        "vae": Node(type="VAELoader", at=(x, y + 370), size=(340, 70), widgets={"vae_name": "ae.safetensors"}),
    }
