"""Load Rational Scorer: chooses the judge and its rubric. Nothing is loaded before something is judged."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..rationalrewards_core.errors import ConfigError
from ..rationalrewards_core.rubric import Rubric
from ..rationalrewards_core.rubric_file import shipped_profiles
from .models.engine_choice import (
    DEVICES,
    GGUF_DEVICES,
    IMAGES_TOGETHER,
    MEGAPIXELS,
    MEMORY,
    MOST_TOKENS,
    NO_SERVER,
    PRECISIONS,
    RUBRICS,
    choice_stamps,
    chosen_engine,
    chosen_rubric,
    number,
    server_names,
)
from .models.folders import (
    NO_ADAPTER,
    NO_CHECKPOINT,
    NO_GGUF,
    SHIPPED,
    adapters,
    checkpoints,
    find_rubric,
    gguf_models,
    rubric_files,
)
from .schema import schema
from .sockets import RubricSocket, ScorerSocket


class LoadScorer(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RR_LoadScorer",
            display_name="Load Rational Scorer",
            advanced=("adapter", "device", "max_megapixels", "batch_size", "memory", "max_tokens"),
            description="Chooses the judge that critiques images, and the rubric it judges by.",
            search_aliases=["reward model", "judge", "critic", "score image", "VLM", "qwen", "quality"],
            inputs=[
                io.DynamicCombo.Input(
                    "engine",
                    options=[miniature_option(), local_option(), clip_option(), server_option(), gguf_option()],
                    tooltip="miniature: a small judge for pictures of coloured shapes, shipped with the pack. local: "
                    "a checkpoint such as RationalRewards-8B. comfy_clip: a Qwen3-VL that ComfyUI loaded itself. "
                    "server: a model server from your own config file. gguf: a GGUF file, run by llama.cpp.",
                ),
                io.Combo.Input(
                    "rubric",
                    options=[*RUBRICS, *(file.name for file in rubric_files()), *shipped_profiles()],
                    default="automatic",
                    tooltip="What is judged. automatic: edit when a source image is connected, else generation. "
                    "The other names are profiles of judges that were trained on another prompt. Your own TOML files go into "
                    "models/rationalrewards/rubrics.",
                ),
                io.Combo.Input(
                    "memory",
                    options=list(MEMORY),
                    default=MEMORY[0],
                    tooltip="keep loaded: the judge stays until ComfyUI needs its memory. free after each run: it is "
                    "unloaded after every node that used it, and loaded again by the next.",
                ),
                RubricSocket.Input(
                    "custom_rubric", optional=True, tooltip="A rubric from Custom Rubric; it overrides the list above."
                ),
                io.Boolean.Input(
                    "check",
                    default=False,
                    optional=True,
                    tooltip="Check the judge when this node runs: reached, seeing, guided, quick, at the right sizes. What to "
                    "do is shown on the node.",
                ),
                io.Int.Input(
                    "max_tokens",
                    optional=True,
                    default=0,
                    min=0,
                    max=MOST_TOKENS,
                    tooltip="Longest critique, in tokens. 0: as long as this judge needs (2048; 400 for the miniature). "
                    "Raise it when a critique was cut off.",
                ),
            ],
            outputs=[ScorerSocket.Output(display_name="scorer", tooltip="The judge, for every node that scores.")],
        )

    @classmethod
    async def execute(
        cls,
        rubric: str,
        memory: str,
        engine: dict[str, Any] | None = None,
        custom_rubric: Any = None,
        check: bool = False,
        max_tokens: int = 0,
    ) -> io.NodeOutput:
        from .judge.scorers import LoadedScorer

        choice = chosen_engine(engine)  # ComfyUI leaves out an engine that is none of the options
        if memory not in MEMORY:
            raise ConfigError(f"memory must be one of {', '.join(MEMORY)}.")
        if custom_rubric is not None and not isinstance(custom_rubric, Rubric):
            raise ConfigError("custom_rubric takes the output of a Custom Rubric node.")
        judged_by = custom_rubric if custom_rubric is not None else chosen_rubric(rubric, choice)
        longest = int(number("max_tokens", max_tokens, (0, MOST_TOKENS))) or None
        keep = memory == MEMORY[0]
        scorer = LoadedScorer(engine=choice, rubric=judged_by, keep=keep, max_tokens=longest)
        if check is not True:
            return io.NodeOutput(scorer)
        from .judge.check_up import check_up
        from .judge.judging import executing_node

        try:
            return io.NodeOutput(scorer, ui={"text": [await check_up(choice, executing_node())]})
        finally:
            if not scorer.keep:
                scorer.unload()

    @classmethod
    def fingerprint_inputs(cls, engine: Any = None, rubric: Any = None, **_: Any) -> str:
        """Changed weights, adapters, rubric files and servers count as changed inputs."""
        try:
            parts = choice_stamps(engine) if isinstance(engine, dict) else []
            if rubric not in (*RUBRICS, *shipped_profiles()):
                parts.append(find_rubric(rubric).read_text(encoding="utf-8", errors="replace"))
        except (ConfigError, OSError):
            # What is missing is said when the node runs.
            return "missing"
        return "|".join(parts)


def miniature_option() -> io.DynamicCombo.Option:
    return io.DynamicCombo.Option("miniature", [])


def local_option() -> io.DynamicCombo.Option:
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
                default="nf4",
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
                4, "Images judged at once. More is faster and takes more memory; too many are halved by themselves."
            ),
        ],
    )


def clip_option() -> io.DynamicCombo.Option:
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


def server_option() -> io.DynamicCombo.Option:
    return io.DynamicCombo.Option(
        "server",
        [
            io.Combo.Input(
                "server",
                options=server_names() or [NO_SERVER],
                tooltip="A name from your own config file, which holds the address and says where the key is. A workflow "
                "can only name it.",
            )
        ],
    )


def gguf_option() -> io.DynamicCombo.Option:
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
                options=list(GGUF_DEVICES),
                default=GGUF_DEVICES[0],
                tooltip="automatic: the card as far as it has room, the rest on the CPU. cpu: the card is left alone.",
            ),
            megapixels("Larger images are scaled down for the judge."),
            images_together(2, "Images judged at once. Each has room for its longest critique set aside on the card."),
        ],
    )


def megapixels(tooltip: str) -> io.Float.Input:
    return io.Float.Input(
        "max_megapixels", default=0.8, min=MEGAPIXELS[0], max=MEGAPIXELS[1], step=0.05, tooltip=tooltip
    )


def images_together(usual: int, tooltip: str) -> io.Int.Input:
    return io.Int.Input("batch_size", default=usual, min=IMAGES_TOGETHER[0], max=IMAGES_TOGETHER[1], tooltip=tooltip)
