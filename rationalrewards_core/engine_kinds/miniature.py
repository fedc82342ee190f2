"""`miniature`: the small scorer that comes with the package."""

from __future__ import annotations

from pathlib import Path

from ..backends.base import Backend
from ..miniature import scorer_folder
from ..miniature.scope import check_judgeable
from ..scorer import Scope
from . import EngineOptions
from .local import checkpoint_backend


def backend(target: str, options: EngineOptions) -> Backend:
    return checkpoint_backend(str(scorer_folder()), options)


def rubric_folder(target: str, options: EngineOptions) -> Path:
    return scorer_folder()


def scope(adapter: str | None) -> Scope | None:
    """Its world, unless an adapter may have taught it more."""
    return check_judgeable if adapter is None else None
