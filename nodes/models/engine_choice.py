"""What a workflow chose on Load Rational Scorer, checked once more: a workflow is somebody else's file.

ComfyUI checks the widgets of a queued prompt, but not of nodes that a loop makes, and not their types.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from ...rationalrewards_core.errors import ConfigError
from ...rationalrewards_core.rubric import Rubric
from ...rationalrewards_core.rubric_file import edit_rubric, generation_rubric, load_rubric, shipped_profiles
from ...rationalrewards_core.servers import default_config_path, load_servers
from .folders import NO_ADAPTER, find_adapter, find_checkpoint, find_gguf, find_rubric, stamp

if TYPE_CHECKING:
    from ..judge.engines import Engine

# Engines are imported when a node runs: ComfyUI starts without them.

PRECISIONS = ("nf4", "int8", "bf16", "fp16", "auto")
DEVICES = ("automatic", "cpu", "cuda:0", "cuda:1")
GGUF_DEVICES = ("automatic", "cpu")
MEGAPIXELS = (0.05, 4.0)
IMAGES_TOGETHER = (1, 32)
MOST_TOKENS = 16384
"""Of one critique."""
RUBRICS = ("automatic", "generation", "edit")
MEMORY = ("keep loaded", "free after each run")
SERVER_NAME = re.compile(r"[\w][\w .-]{0,63}")
"""Names of the config file that the list shows; an error about any other would ask the user to add an address."""
NO_SERVER = "none found: name one in the file rationalrewards/config.toml of your configuration folder"


def server_names() -> list[str]:
    """Names in the user's config file; a file that cannot be read names none, and says why when it is used."""
    try:
        return sorted(name for name in load_servers(default_config_path()) if SERVER_NAME.fullmatch(name))
    except ConfigError:
        return []


def choice_stamps(choice: dict[str, Any]) -> list[str]:
    """What an engine's files say of their version. ConfigError if one is not there."""
    if choice.get("engine") == "local":
        folders = [find_checkpoint(choice.get("checkpoint")), find_adapter(choice.get("adapter", NO_ADAPTER))]
        return [stamp(folder) for folder in folders if folder is not None]
    if choice.get("engine") == "gguf":
        return [stamp(find_gguf(choice.get("model")).parent)]
    if choice.get("engine") == "server":
        # A server's `repr` holds no key.
        return [repr(load_servers(default_config_path()).get(str(choice.get("server"))))]
    return []


def chosen_engine(choice: dict[str, Any] | None) -> Engine:
    """The engine of a checked choice; ConfigError in one sentence for whatever a workflow got wrong."""
    from ..judge.engines import miniature_engine, server_engine

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
        from ..judge.comfy_clip import clip_engine

        return clip_engine(choice.get("clip"), max_pixels=pixels(choice.get("max_megapixels", 0.8)))
    if kind == "gguf":
        return chosen_gguf(choice)
    raise ConfigError("engine must be miniature, local, comfy_clip, server or gguf.")


def chosen_checkpoint(choice: dict[str, Any]) -> Engine:
    from ...rationalrewards_core.engines import EngineOptions
    from ..judge.engines import local_engine
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


def chosen_gguf(choice: dict[str, Any]) -> Engine:
    from ...rationalrewards_core.engines import EngineOptions
    from ..judge.engines import gguf_engine

    device = one_of("device", choice.get("device", GGUF_DEVICES[0]), GGUF_DEVICES)
    options = EngineOptions(
        device="cpu" if device == "cpu" else "auto",
        max_pixels=pixels(choice.get("max_megapixels", 0.8)),
        batch_size=int(number("batch_size", choice.get("batch_size", 2), IMAGES_TOGETHER)),
    )
    return gguf_engine(find_gguf(choice.get("model")), options)


def chosen_rubric(name: str, engine: Engine) -> Rubric | None:
    """None leaves the choice to each request."""
    if name == "automatic":
        return None
    if name == "generation":
        return engine.rubrics.get("generation") or generation_rubric()
    if name == "edit":
        return engine.rubrics.get("edit") or edit_rubric()
    return load_rubric(name if name in shipped_profiles() else find_rubric(name))


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
