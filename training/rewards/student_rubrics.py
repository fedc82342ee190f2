"""Which rubrics a trained judge is asked in."""

from __future__ import annotations

from pathlib import Path

from rationalrewards_core.engines import EngineName, make_rubrics
from rationalrewards_core.rubric import Kind, Rubric
from rationalrewards_core.rubric_file import carried_rubrics


def student_rubrics(model: str, export: Path) -> dict[Kind, Rubric]:
    """The rubrics to ask a student in: those in the export, else those of its checkpoint, else the built-in ones."""
    return make_rubrics(EngineName("local", model)) | carried_rubrics(export)
