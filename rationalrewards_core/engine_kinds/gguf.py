"""`gguf:FILE`: a GGUF judge, run by llama.cpp's own server."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..backends.base import Backend
from ..errors import ConfigError
from . import EngineOptions

GGUF_BATCH: Final = 2
"""Every question of llama.cpp has room for its longest reply set aside on the card."""


def backend(target: str, options: EngineOptions) -> Backend:
    """ConfigError for the options that are made when such a file is written."""
    file = Path(target).expanduser()
    if options.adapter is not None:
        raise ConfigError(f"{file.name} cannot be given an adapter here: merge it before you write the GGUF file.")
    if options.precision != "auto":
        raise ConfigError(f"{file.name} has its precision already; leave --precision at auto, or take another file.")
    if options.device not in ("auto", "cpu"):
        raise ConfigError("A GGUF judge takes device auto or cpu; which card is CUDA_VISIBLE_DEVICES' affair.")
    slots = GGUF_BATCH if options.batch_size is None else options.batch_size
    if slots < 1:
        raise ConfigError(f"batch_size must be at least 1, not {slots}.")
    from ..backends.managed_chat import ManagedChat
    from ..gguf.engine import gguf_config

    return ManagedChat(*gguf_config(file, max_pixels=options.max_pixels, slots=slots, cpu=options.device == "cpu"))


def rubric_folder(target: str, options: EngineOptions) -> Path:
    return Path(target).expanduser().parent


def scope(adapter: str | None) -> None:
    return None
