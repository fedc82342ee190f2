"""Engine `local`: a checkpoint folder in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..models.folders import (
    NO_ADAPTER,
    NO_CHECKPOINT,
    SHIPPED,
    adapters,
    checkpoints,
    find_adapter,
    find_checkpoint,
    stamp,
)
from .widgets import USUAL_MEGAPIXELS, image_count, images_together, megapixels, one_of, pixels

if TYPE_CHECKING:
    from ..judge.engines import Engine

PRECISIONS = ("nf4", "int8", "bf16", "fp16", "auto")
DEVICES = ("automatic", "cpu", "cuda:0", "cuda:1")
TOGETHER = 4


def option() -> io.DynamicCombo.Option:
    return io.DynamicCombo.Option(
        "local",
        [
            io.Combo.Input(
                "checkpoint",
                options=[*([one.name for one in checkpoints()] or [NO_CHECKPOINT]), SHIPPED],
                tooltip="A Qwen-VL-class checkpoint folder in models/LLM, models/text_encoders or models/rationalrewards. "
                "Nothing is downloaded unasked: the node offers TIGER-Lab/RationalRewards-8B-T2I (or -Edit) when it is not "
                "here, or put its files from huggingface.co into models/LLM/RationalRewards-8B-T2I/.",
            ),
            io.Combo.Input(
                "precision",
                options=list(PRECISIONS),
                default=PRECISIONS[0],
                tooltip="An 8B judge needs about 7 GB as nf4, 11 GB as int8 and 18 GB as bf16 or fp16. nf4 and int8 need "
                "the package bitsandbytes. auto: bf16, or what the device computes faster (fp32 on most CPUs, in twice the "
                "memory).",
            ),
            io.Combo.Input(
                "adapter",
                options=[NO_ADAPTER, *(one.name for one in adapters())],
                default=NO_ADAPTER,
                tooltip="A LoRA adapter folder in models/rationalrewards or models/loras, such as our training writes.",
            ),
            io.Combo.Input(
                "device",
                options=list(DEVICES),
                default=DEVICES[0],
                tooltip="automatic: where ComfyUI computes. The CPU works, slowly.",
            ),
            megapixels("Larger images are scaled down for the judge. The released weights were trained on 0.8."),
            images_together(
                TOGETHER,
                "Images judged at once. More is faster and takes more memory; too many are halved by themselves.",
            ),
        ],
    )


def stamps(choice: dict[str, Any]) -> list[str]:
    folders = [find_checkpoint(choice.get("checkpoint")), find_adapter(choice.get("adapter", NO_ADAPTER))]
    return [stamp(folder) for folder in folders if folder is not None]


def engine(choice: dict[str, Any]) -> Engine:
    from ...rationalrewards_core.engines import EngineOptions
    from ..judge.engines import local_engine
    from ..models.memory import comfy_device

    folder = find_checkpoint(choice.get("checkpoint"))
    adapter = find_adapter(choice.get("adapter", NO_ADAPTER))
    device = one_of("device", choice.get("device", DEVICES[0]), DEVICES)
    options = EngineOptions(
        precision=one_of("precision", choice.get("precision", PRECISIONS[0]), PRECISIONS),
        adapter=str(adapter) if adapter is not None else None,
        device=comfy_device() if device == DEVICES[0] else device,
        max_pixels=pixels(choice.get("max_megapixels", USUAL_MEGAPIXELS)),
        batch_size=image_count(choice.get("batch_size", TOGETHER)),
    )
    return local_engine(folder, options)
