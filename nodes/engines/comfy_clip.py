"""Engine `comfy_clip`: a Qwen3-VL that ComfyUI loaded itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from .widgets import USUAL_MEGAPIXELS, megapixels, pixels

if TYPE_CHECKING:
    from ..judge.engines import Engine


def option() -> io.DynamicCombo.Option:
    return io.DynamicCombo.Option(
        "comfy_clip",
        [
            io.Clip.Input(
                "clip",
                tooltip="A Qwen3-VL checkpoint loaded by the core's Load CLIP (ComfyUI 0.26 or newer). ComfyUI manages its "
                "memory, and fp8, int8 and nvfp4 files work.",
            ),
            megapixels("Larger images are scaled down for the judge."),
        ],
    )


def stamps(choice: dict[str, Any]) -> list[str]:
    return []


def engine(choice: dict[str, Any]) -> Engine:
    from ..judge.comfy_clip import clip_engine

    return clip_engine(choice.get("clip"), max_pixels=pixels(choice.get("max_megapixels", USUAL_MEGAPIXELS)))
