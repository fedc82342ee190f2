"""The engines of Load Rational Scorer: one row here, and one module of the row's name with its widgets and what they mean.

A workflow is somebody else's file, so what it chose is checked once more: ComfyUI checks the widgets of a queued prompt, but
not of nodes that a loop makes, and not their types.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from comfy_api.latest import io

from ...rationalrewards_core.errors import ConfigError

if TYPE_CHECKING:
    from ..judge.engines import Engine

ENGINES = ("miniature", "local", "comfy_clip", "server", "gguf")
"""In the order of the node's list; new ones go last."""


class EngineChoice(Protocol):
    """What the module of an engine has. Backends are imported inside its functions: ComfyUI starts without them."""

    def option(self) -> io.DynamicCombo.Option:
        """Its widgets."""
        ...

    def stamps(self, choice: dict[str, Any]) -> list[str]:
        """What its files say of their version. ConfigError if one is not there."""
        ...

    def engine(self, choice: dict[str, Any]) -> Engine:
        """The engine that a workflow chose; ConfigError in one sentence for whatever it got wrong."""
        ...


def engine_options() -> list[io.DynamicCombo.Option]:
    return [_module(kind).option() for kind in ENGINES]


def choice_stamps(choice: dict[str, Any]) -> list[str]:
    """What the files of a choice say of their version. ConfigError if one is not there."""
    kind = choice.get("engine")
    return _module(kind).stamps(choice) if kind in ENGINES else []


def chosen_engine(choice: dict[str, Any] | None) -> Engine:
    """The engine of a checked choice; ConfigError in one sentence for whatever a workflow got wrong."""
    kind = choice.get("engine") if isinstance(choice, dict) else None
    if choice is None or kind not in ENGINES:
        raise ConfigError(f"engine must be {', '.join(ENGINES[:-1])} or {ENGINES[-1]}.")
    return _module(kind).engine(choice)


def _module(kind: str) -> EngineChoice:
    return import_module(f".{kind}", __name__)
