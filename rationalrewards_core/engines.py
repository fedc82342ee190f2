"""Engines by name: what a user types (`miniature`, `local:FOLDER`, `gguf:FILE`, `server:NAME`) becomes a scorer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .backends.base import Backend
from .engine_kinds import ENGINES, EngineOptions, engine_module, engine_names
from .errors import ConfigError
from .memo import Memo
from .rubric import Kind, Rubric
from .rubric_file import carried_rubrics, load_rubric
from .scorer import Scope, Scorer
from .scorer_settings import ScorerSettings

__all__ = ["EngineName", "EngineOptions", "make_backend", "make_rubrics", "make_scorer", "scope_of"]


@dataclass(frozen=True)
class EngineName:
    """A parsed engine name."""

    kind: str
    """One of `engine_kinds.ENGINES`."""
    target: str = ""
    """Checkpoint folder or hub id, a GGUF model's file, or the server's name."""

    @classmethod
    def parse(cls, text: str) -> EngineName:
        kind, _, target = text.partition(":")
        if kind in ENGINES and bool(target) == bool(ENGINES[kind].target):
            return cls(kind, target)
        raise ConfigError(f"Unknown engine {text!r}; use {engine_names()}.")


def make_backend(name: EngineName, options: EngineOptions) -> Backend:
    """Build the backend; nothing is loaded and no connection is made before its first reply."""
    return engine_module(name.kind).backend(name.target, options)


def make_rubrics(
    name: EngineName,
    custom: str | Path | None = None,
    adapter: str | Path | None = None,
    *,
    config_file: Path | None = None,
) -> dict[Kind, Rubric]:
    """The rubrics to ask in: a custom one, else those the adapter or the checkpoint carries, else the built-in ones.

    A server's checkpoint is where its entry in the config file names a `processor`.
    """
    if custom is not None:
        rubric = load_rubric(custom)
        return {rubric.kind: rubric}
    own = engine_module(name.kind).rubric_folder(name.target, EngineOptions(config_file=config_file))
    if own is None:
        return {}
    folders = [own]
    if adapter is not None:
        folders.append(Path(adapter).expanduser())  # trained in its own rubric: that one is asked in
    return {kind: rubric for folder in folders for kind, rubric in carried_rubrics(folder).items()}


def scope_of(name: EngineName, adapter: str | None = None) -> Scope | None:
    """What an engine declares that it can judge; None: anything. An adapter may have taught the miniature more."""
    return engine_module(name.kind).scope(adapter)


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
    backend = make_backend(name, options)
    rubrics = make_rubrics(name, rubric, options.adapter, config_file=options.config_file)
    return Scorer(backend, rubrics, settings, memo, scope_of(name, options.adapter))
