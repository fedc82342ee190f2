"""Engine `miniature`: the scorer that comes with the pack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

if TYPE_CHECKING:
    from ..judge.engines import Engine


def option() -> io.DynamicCombo.Option:
    return io.DynamicCombo.Option("miniature", [])


def stamps(choice: dict[str, Any]) -> list[str]:
    return []


def engine(choice: dict[str, Any]) -> Engine:
    from ..judge.engines import miniature_engine

    return miniature_engine()
