"""Replies of tests, in parts, and how a test reads one."""

from __future__ import annotations

from rationalrewards_core.critique import Critique
from rationalrewards_core.errors import CritiqueParseError
from rationalrewards_core.replies.parsing import Mode, Reason, parse_critique
from rationalrewards_core.rubric import Dimension, Layout, Rubric, Scale
from rationalrewards_core.rubric_file import edit_rubric, generation_rubric

RUBRICS = {"generation": generation_rubric(), "edit": edit_rubric()}


def read(reply: str, rubric: Rubric, mode: Mode = "critique") -> Critique | str:
    """The critique, or the reason why there is none."""
    try:
        return parse_critique(reply, rubric, mode)
    except CritiqueParseError as error:
        assert error.raw == reply
        assert error.reason in {reason.value for reason in Reason}
        assert str(error)
        return error.reason


def custom_rubric(titles: tuple[str, ...], scale: Scale | None = None, layout: Layout | None = None) -> Rubric:
    """A rubric whose last dimension is optional if it has several."""
    dimensions = tuple(
        Dimension(key=f"d{place}", title=title, optional=0 < place == len(titles) - 1)
        for place, title in enumerate(titles)
    )
    return Rubric(
        name="custom", kind="generation", dimensions=dimensions, scale=scale or Scale(), layout=layout or Layout()
    )


HEAD = "# User Request Analysis\nA cat.\n# Detailed Judgement\n"
TWO = "1. Text Faithfulness:\n## Justification: j\n## Score: 3.5\n2. Physical and Visual Quality:\n## Justification: j\n## Score: 2.0\n"
OPEN_THIRD = "3. Text Rendering:\n## Justification: j\n"
TAIL = "# Summary: ok\n\n# User Request Refinement:\n## Refinement Comments: c\n## Refined Request: r"
