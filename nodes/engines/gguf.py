"""Engine `gguf`: a GGUF file, run by llama.cpp."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..models.folders import NO_GGUF, find_gguf, gguf_models, stamp
from .widgets import USUAL_MEGAPIXELS, image_count, images_together, megapixels, one_of, pixels

if TYPE_CHECKING:
    from ..judge.engines import Engine

DEVICES = ("automatic", "cpu")
TOGETHER = 2


def option() -> io.DynamicCombo.Option:
    return io.DynamicCombo.Option(
        "gguf",
        [
            io.Combo.Input(
                "model",
                options=[one.name for one in gguf_models()] or [NO_GGUF],
                tooltip="A GGUF model with its mmproj file beside it, in models/LLM, models/text_encoders or "
                "models/rationalrewards. It is run by llama.cpp: install xllamacpp into ComfyUI's Python.",
            ),
            io.Combo.Input(
                "device",
                options=list(DEVICES),
                default=DEVICES[0],
                tooltip="automatic: the card as far as it has room, the rest on the CPU. cpu: the card is left alone.",
            ),
            megapixels("Larger images are scaled down for the judge."),
            images_together(
                TOGETHER, "Images judged at once. Each has room for its longest critique set aside on the card."
            ),
        ],
    )


def stamps(choice: dict[str, Any]) -> list[str]:
    return [stamp(find_gguf(choice.get("model")).parent)]


def engine(choice: dict[str, Any]) -> Engine:
    from ...rationalrewards_core.engines import EngineOptions
    from ..judge.engines import gguf_engine

    device = one_of("device", choice.get("device", DEVICES[0]), DEVICES)
    options = EngineOptions(
        device="cpu" if device == "cpu" else "auto",
        max_pixels=pixels(choice.get("max_megapixels", USUAL_MEGAPIXELS)),
        batch_size=image_count(choice.get("batch_size", TOGETHER)),
    )
    return gguf_engine(find_gguf(choice.get("model")), options)
