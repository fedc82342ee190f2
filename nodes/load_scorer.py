"""Load Rational Scorer: chooses the judge and its rubric. Nothing is loaded before something is judged."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..rationalrewards_core.errors import ConfigError
from ..rationalrewards_core.rubric import Rubric
from ..rationalrewards_core.rubric_file import edit_rubric, generation_rubric, load_rubric
from ..rationalrewards_core.servers import default_config_path, load_servers
from .models import (
    NO_ADAPTER,
    NO_CHECKPOINT,
    adapters,
    checkpoints,
    find_adapter,
    find_checkpoint,
    find_rubric,
    rubric_files,
    stamp,
)
from .schema import schema
from .sockets import RubricSocket, ScorerSocket

if TYPE_CHECKING:
    from .engines import Engine

# Engines are imported when a node runs: ComfyUI starts without them.

PRECISIONS = ("nf4", "int8", "bf16", "fp16")
DEVICES = ("automatic", "cpu", "cuda:0", "cuda:1")
MEGAPIXELS = (0.05, 4.0)
IMAGES_TOGETHER = (1, 32)
RUBRICS = ("automatic", "generation", "edit")
MEMORY = ("keep loaded", "free after each run")
SERVER_NAME = re.compile(r"[\w][\w .-]{0,63}")
"""Names of the config file that the list shows; an error about any other would ask the user to add an address."""
NO_SERVER = "none found: name one in the file rationalrewards/config.toml of your configuration folder"


class LoadScorer(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RR_LoadScorer",
            display_name="Load Rational Scorer",
            description="Chooses the judge that critiques images, and the rubric it judges by.",
            search_aliases=["reward model", "judge", "critic", "score image", "VLM"],
            inputs=[
                io.DynamicCombo.Input(
                    "engine",
                    options=[miniature_option(), local_option(), clip_option(), server_option()],
                    tooltip="miniature: a small judge for pictures of coloured shapes, shipped with the pack. local: "
                    "a checkpoint such as RationalRewards-8B. comfy_clip: a Qwen3-VL that ComfyUI loaded itself. "
                    "server: a model server from your own config file.",
                ),
                io.Combo.Input(
                    "rubric",
                    options=[*RUBRICS, *(file.name for file in rubric_files())],
                    default="automatic",
                    tooltip="What is judged. automatic: edit when a source image is connected, else generation. "
                    "Your own TOML files go into models/rationalrewards/rubrics.",
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
            ],
            outputs=[ScorerSocket.Output(display_name="scorer", tooltip="The judge, for every node that scores.")],
        )

    @classmethod
    def execute(
        cls, rubric: str, memory: str, engine: dict[str, Any] | None = None, custom_rubric: Any = None
    ) -> io.NodeOutput:
        from .scorers import LoadedScorer

        chosen = chosen_engine(engine)  # ComfyUI leaves out an engine that is none of the options
        if memory not in MEMORY:
            raise ConfigError(f"memory must be one of {', '.join(MEMORY)}.")
        if custom_rubric is not None and not isinstance(custom_rubric, Rubric):
            raise ConfigError("custom_rubric takes the output of a Custom Rubric node.")
        judged_by = custom_rubric if custom_rubric is not None else chosen_rubric(rubric, chosen)
        return io.NodeOutput(LoadedScorer(engine=chosen, rubric=judged_by, keep=memory == MEMORY[0]))

    @classmethod
    def fingerprint_inputs(cls, engine: Any = None, rubric: Any = None, **_: Any) -> str:
        """Changed weights, adapters, rubric files and servers count as changed inputs."""
        try:
            parts = choice_stamps(engine) if isinstance(engine, dict) else []
            if rubric not in RUBRICS:
                parts.append(find_rubric(rubric).read_text(encoding="utf-8", errors="replace"))
        except (ConfigError, OSError):
            # What is missing is said when the node runs.
            return "missing"
        return "|".join(parts)


def choice_stamps(choice: dict[str, Any]) -> list[str]:
    """What an engine's files say of their version. ConfigError if one is not there."""
    if choice.get("engine") == "local":
        folders = [find_checkpoint(choice.get("checkpoint")), find_adapter(choice.get("adapter", NO_ADAPTER))]
        return [stamp(folder) for folder in folders if folder is not None]
    if choice.get("engine") == "server":
        # A server's `repr` holds no key.
        return [repr(load_servers(default_config_path()).get(str(choice.get("server"))))]
    return []


def miniature_option() -> io.DynamicCombo.Option:
    return io.DynamicCombo.Option("miniature", [])


def local_option() -> io.DynamicCombo.Option:
    return io.DynamicCombo.Option(
        "local",
        [
            io.Combo.Input(
                "checkpoint",
                options=[one.name for one in checkpoints()] or [NO_CHECKPOINT],
                tooltip="A Qwen-VL-class checkpoint folder in models/LLM, models/text_encoders or models/rationalrewards. "
                "Nothing is downloaded for you: get TIGER-Lab/RationalRewards-8B-T2I (or -Edit) from huggingface.co and "
                "put its files into models/LLM/RationalRewards-8B-T2I/.",
            ),
            io.Combo.Input(
                "precision",
                options=list(PRECISIONS),
                default="nf4",
                tooltip="An 8B judge needs about 7 GB as nf4, 11 GB as int8 and 18 GB as bf16 or fp16. nf4 and int8 need "
                "the package bitsandbytes.",
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
            io.Float.Input(
                "max_megapixels",
                default=0.8,
                min=MEGAPIXELS[0],
                max=MEGAPIXELS[1],
                step=0.05,
                tooltip="Larger images are scaled down for the judge. The released weights were trained on 0.8.",
            ),
            io.Int.Input(
                "batch_size",
                default=4,
                min=IMAGES_TOGETHER[0],
                max=IMAGES_TOGETHER[1],
                tooltip="Images judged at once. More is faster and takes more memory; too many are halved by themselves.",
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
            io.Float.Input(
                "max_megapixels",
                default=0.8,
                min=MEGAPIXELS[0],
                max=MEGAPIXELS[1],
                step=0.05,
                tooltip="Larger images are scaled down for the judge.",
            ),
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


def server_names() -> list[str]:
    """Names in the user's config file; a file that cannot be read names none, and says why when it is used."""
    try:
        return sorted(name for name in load_servers(default_config_path()) if SERVER_NAME.fullmatch(name))
    except ConfigError:
        return []


def chosen_engine(choice: dict[str, Any] | None) -> Engine:
    """The engine of a checked choice; ConfigError in one sentence for whatever a workflow got wrong."""
    from .engines import miniature_engine, server_engine

    kind = choice.get("engine") if isinstance(choice, dict) else None
    if kind == "miniature":
        return miniature_engine()
    if kind == "local":
        return chosen_checkpoint(choice)
    if kind == "server":
        name = choice.get("server")
        if name == NO_SERVER:
            raise ConfigError(f"No server is named yet: add [servers.NAME] with its url to {default_config_path()}.")
        if not isinstance(name, str) or not SERVER_NAME.fullmatch(name):
            raise ConfigError("A workflow can only name a server of your own config file, not an address.")
        return server_engine(name)
    if kind == "comfy_clip":
        from .comfy_clip import clip_engine

        return clip_engine(choice.get("clip"), max_pixels=pixels(choice.get("max_megapixels", 0.8)))
    raise ConfigError("engine must be miniature, local, comfy_clip or server.")


def chosen_checkpoint(choice: dict[str, Any]) -> Engine:
    from ..rationalrewards_core.engines import EngineOptions
    from .engines import local_engine
    from .memory import comfy_device

    folder = find_checkpoint(choice.get("checkpoint"))
    adapter = find_adapter(choice.get("adapter", NO_ADAPTER))
    device = one_of("device", choice.get("device", DEVICES[0]), DEVICES)
    options = EngineOptions(
        precision=one_of("precision", choice.get("precision", PRECISIONS[0]), PRECISIONS),
        adapter=str(adapter) if adapter is not None else None,
        device=comfy_device() if device == DEVICES[0] else device,
        max_pixels=pixels(choice.get("max_megapixels", 0.8)),
        batch_size=int(number("batch_size", choice.get("batch_size", 4), IMAGES_TOGETHER)),
    )
    return local_engine(folder, options)


def chosen_rubric(name: str, engine: Engine) -> Rubric | None:
    """None leaves the choice to each request."""
    if name == "automatic":
        return None
    if name == "generation":
        return engine.rubrics.get("generation") or generation_rubric()
    if name == "edit":
        return engine.rubrics.get("edit") or edit_rubric()
    return load_rubric(find_rubric(name))


def one_of(key: str, value: object, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ConfigError(f"{key} must be one of {', '.join(allowed)}.")
    return str(value)


def number(key: str, value: object, between: tuple[float, float]) -> float:
    """A number of a workflow file, checked: nodes made by a loop do not pass ComfyUI's own checks."""
    low, high = between
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or not low <= value <= high
    ):
        raise ConfigError(f"{key} must be a number from {low:g} to {high:g}.")
    return value


def pixels(megapixels: object) -> int:
    return int(number("max_megapixels", megapixels, MEGAPIXELS) * 1_000_000)
