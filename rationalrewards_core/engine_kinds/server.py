"""`server:NAME`: an OpenAI-compatible server of the user's own config file."""

from __future__ import annotations

from pathlib import Path

from ..backends.base import Backend
from ..errors import ConfigError
from . import EngineOptions


def backend(target: str, options: EngineOptions) -> Backend:
    """ConfigError if the file names no such server, or an adapter is wanted of it."""
    if options.adapter is not None:
        raise ConfigError(
            f"server:{target} cannot be given an adapter here: load it in that server (vLLM: --lora-modules) and "
            "name it as the server's model in your config file."
        )
    from ..backends.managed_chat import ManagedChat
    from ..backends.openai_chat import OpenAIChat
    from ..servers import server

    place = server(target, options.config_file)
    return ManagedChat(place) if place.managed else OpenAIChat(place)


def rubric_folder(target: str, options: EngineOptions) -> Path | None:
    """The checkpoint's folder that the entry names as its processor, or that of the GGUF tower which it names."""
    from ..servers import server

    processor = server(target, options.config_file).processor
    if not processor:
        return None
    return Path(processor).parent if Path(processor).is_file() else Path(processor)


def scope(adapter: str | None) -> None:
    return None
