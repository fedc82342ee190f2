"""Rubrics of the tests' own, so that words and dimensions of the shipped ones may change: `tests/rubrics`.

Under them behaviour is tested. The shipped ones are tested by what asks for them: the golden file, the tests of the built-in
rubrics, the translations and the frozen outputs of nodes, ComfyUI itself and every other process.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from rationalrewards_core import rubric_file
from rationalrewards_core.rubric import Kind, Rubric
from rationalrewards_core.rubric_file import parse_rubric

OWN = Path(__file__).parent / "rubrics"
SHIPPED = Path(rubric_file.__file__).parent / "prompts"


def use_own_rubrics(module: Any) -> None:
    """Have a `rubric_file` (the core's, or that of a loaded pack) take the tests' rubrics for the built-in ones."""
    shipped = module._built_in

    @cache
    def built_in(name: str) -> Any:
        file = OWN / f"{name}.toml"
        return module.parse_rubric(file.read_text(encoding="utf-8"), file.name) if file.is_file() else shipped(name)

    module._built_in = built_in


def shipped_rubric(kind: Kind) -> Rubric:
    """The rubric as it comes with the package."""
    return parse_rubric((SHIPPED / f"{kind}.toml").read_text(encoding="utf-8"), f"{kind}.toml")
