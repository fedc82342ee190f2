"""Engines by name: what a user types (`miniature`, `local:PATH_OR_ID`, `gguf:FILE`, `server:NAME`) becomes a scorer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from .backends.base import Backend
from .errors import ConfigError
from .memo import Memo
from .miniature import scorer_folder
from .miniature.scope import check_judgeable
from .rubric import Kind, Rubric
from .rubric_file import carried_rubrics, load_rubric
from .scorer import Scope, Scorer
from .scorer_settings import ScorerSettings

EngineKind = Literal["miniature", "local", "gguf", "server"]
LOCAL_BATCH: Final = 8
GGUF_BATCH: Final = 2
"""Every question of llama.cpp has room for its longest reply set aside on the card."""


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
class EngineName:
    """A parsed engine name."""

    kind: EngineKind
    target: str = ""
    """Checkpoint folder or hub id, a GGUF model's file, or the server's name."""

    @classmethod
    def parse(cls, text: str) -> EngineName:
        kind, _, target = text.partition(":")
        if kind == "miniature" and not target:
            return cls("miniature")
        if kind in ("local", "gguf", "server") and target:
            return cls(kind, target)  # type: ignore[arg-type]
        raise ConfigError(f"Unknown engine {text!r}; use miniature, local:FOLDER_OR_HUB_ID, gguf:FILE or server:NAME.")


def make_backend(name: EngineName, options: EngineOptions) -> Backend:
    """Build the backend; nothing is loaded and no connection is made before its first reply."""
    if name.kind == "server":
        if options.adapter is not None:
            raise ConfigError(
                f"server:{name.target} cannot be given an adapter here: load it in that server (vLLM: --lora-modules) and "
                "name it as the server's model in your config file."
            )
        from .backends.managed_chat import ManagedChat
        from .backends.openai_chat import OpenAIChat
        from .servers import server

        place = server(name.target, options.config_file)
        return ManagedChat(place) if place.managed else OpenAIChat(place)
    if name.kind == "gguf":
        return _gguf(Path(name.target).expanduser(), options)
    from .backends.checkpoint import CheckpointConfig
    from .backends.transformers_local import TransformersLocal

    folder = str(scorer_folder()) if name.kind == "miniature" else _checkpoint(name.target)
    config = CheckpointConfig(
        model=folder,
        precision=options.precision,  # type: ignore[arg-type]
        adapter=options.adapter,
        device=options.device,
        max_pixels=options.max_pixels,
        download=options.download,
    )
    return TransformersLocal(config, batch_size=LOCAL_BATCH if options.batch_size is None else options.batch_size)


def _gguf(file: Path, options: EngineOptions) -> Backend:
    """A GGUF judge; ConfigError for the options that are made when such a file is written."""
    if options.adapter is not None:
        raise ConfigError(f"{file.name} cannot be given an adapter here: merge it before you write the GGUF file.")
    if options.precision != "auto":
        raise ConfigError(f"{file.name} has its precision already; leave --precision at auto, or take another file.")
    if options.device not in ("auto", "cpu"):
        raise ConfigError("A GGUF judge takes device auto or cpu; which card is CUDA_VISIBLE_DEVICES' affair.")
    slots = GGUF_BATCH if options.batch_size is None else options.batch_size
    if slots < 1:
        raise ConfigError(f"batch_size must be at least 1, not {slots}.")
    from .backends.managed_chat import ManagedChat
    from .gguf.engine import gguf_config

    return ManagedChat(*gguf_config(file, max_pixels=options.max_pixels, slots=slots, cpu=options.device == "cpu"))


def _checkpoint(target: str) -> str:
    """The folder as it is on disk, or the hub id as it was typed; a missing folder is told at once."""
    path = Path(target).expanduser()
    if path.is_dir():
        return str(path)
    if path.is_absolute() or target.startswith(".") or "\\" in target:
        raise ConfigError(f"There is no checkpoint folder {target!r}.")
    return target


def make_rubrics(
    name: EngineName, custom: str | Path | None = None, adapter: str | Path | None = None
) -> dict[Kind, Rubric]:
    """The rubrics to ask in: a custom one, else those the adapter or the checkpoint carries, else the built-in ones."""
    if custom is not None:
        rubric = load_rubric(custom)
        return {rubric.kind: rubric}
    if name.kind == "server":
        return {}
    folders = [scorer_folder() if name.kind == "miniature" else Path(name.target).expanduser()]
    if name.kind == "gguf":
        folders = [folders[0].parent]
    if adapter is not None:
        folders.append(Path(adapter).expanduser())  # trained in its own rubric: that one is asked in
    return {kind: rubric for folder in folders for kind, rubric in carried_rubrics(folder).items()}


def scope_of(name: EngineName, adapter: str | None = None) -> Scope | None:
    """What an engine declares that it can judge; None: anything. An adapter may have taught the miniature more."""
    return check_judgeable if name.kind == "miniature" and adapter is None else None


def make_scorer(
    engine: str,
    options: EngineOptions | None = None,
    *,
    rubric: str | Path | None = None,
    settings: ScorerSettings | None = None,
    memo: Memo | None = None,
) -> Scorer:
    """A scorer from an engine's name, such as `make_scorer("local:/models/RationalRewards-8B-T2I")`."""
    name = EngineName.parse(engine)
    options = options or EngineOptions()
    rubrics = make_rubrics(name, rubric, options.adapter)
    return Scorer(make_backend(name, options), rubrics, settings, memo, scope_of(name, options.adapter))
