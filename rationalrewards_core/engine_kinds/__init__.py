"""The engines there are: one row here and one module of the row's name, which is imported when the engine is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from ..backends.base import Backend
    from ..scorer import Scope


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Settings of an engine that do not belong in its name; each applies where it makes sense."""

    precision: str = "auto"
    """auto (the floating point that is fast on the device), bf16, fp16, fp32, int8 or nf4 (local engines)."""
    adapter: str | None = None
    """LoRA adapter folder (local engines)."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps (local engines)."""
    max_pixels: int | None = 802_816
    """Pixel cap per image (local and GGUF engines)."""
    batch_size: int | None = None
    """Images judged together (local and GGUF engines); None is 8 in this process and 2 for a GGUF file."""
    download: bool = False
    """Whether a hub id may be downloaded (local engines)."""
    config_file: Path | None = None
    """The file that names servers; None is the user's own (server engines)."""


@dataclass(frozen=True)
class EngineWords:
    """How an engine is named, and one line on it."""

    target: str
    """What stands behind its name and a colon, as help pages write it; empty if nothing does."""
    help: str


ENGINES: Final[Mapping[str, EngineWords]] = {
    "miniature": EngineWords("", "the small model that comes with the package; judges coloured shapes only (default)"),
    "local": EngineWords(
        "FOLDER_OR_ID", "a Qwen3-VL-class checkpoint, for example local:/models/RationalRewards-8B-T2I"
    ),
    "gguf": EngineWords(
        "FILE", "a GGUF model with its mmproj file beside it, run by llama.cpp (pip install xllamacpp)"
    ),
    "server": EngineWords(
        "NAME", "an OpenAI-compatible server named in your config file (see: rationalrewards servers --help)"
    ),
}
"""Kind -> its words. The module of a kind is its name."""


class EngineModule(Protocol):
    """What the module of an engine has."""

    def backend(self, target: str, options: EngineOptions) -> Backend:
        """Its backend; nothing is loaded and no connection is made before the first reply."""
        ...

    def rubric_folder(self, target: str, options: EngineOptions) -> Path | None:
        """Where a checkpoint carries the rubrics that it was trained in; None if there is no such place."""
        ...

    def scope(self, adapter: str | None) -> Scope | None:
        """What it declares that it can judge; None: anything."""
        ...


def engine_module(kind: str) -> EngineModule:
    """The module of a kind; KeyError if there is none."""
    ENGINES[kind]
    return import_module(f".{kind}", __name__)


def engine_names(*further: str) -> str:
    """`miniature, local:FOLDER_OR_ID, ... or server:NAME` for a sentence, with `further` names at its end."""
    names = [*map(_named, ENGINES), *further]
    return f"{', '.join(names[:-1])} or {names[-1]}"


def engine_lines() -> str:
    """A line of help for each engine."""
    return "\n".join(f"  {_named(kind):<20} {words.help}" for kind, words in ENGINES.items())


def _named(kind: str) -> str:
    return f"{kind}:{ENGINES[kind].target}" if ENGINES[kind].target else kind
