"""How a reply is laid out, written once: literals, slots between them, and the line ends that close a slot.

The prompt's skeleton (`messages`), the grammar (`grammar`) and the rendering (`critique`) walk it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from .rubric import (
    ANALYSIS,
    COMMENTS,
    JUDGEMENT,
    JUSTIFICATION,
    REFINED,
    REFINEMENT,
    SCORE,
    SCORE_A,
    SCORE_B,
    SUMMARY,
    WINNER,
    Dimension,
    Rubric,
)

SlotKind = Literal["analysis", "justification", "score", "winner", "summary", "comments", "refined"]


@dataclass(frozen=True)
class Slot:
    """Where the judge writes."""

    kind: SlotKind
    dimension: Dimension | None = None
    """Of a justification, a score and a winner."""


@dataclass(frozen=True)
class LineEnd:
    """Closes a slot; what is written here leaves a blank line where a section begins."""

    blank: bool = False


LayoutPart = str | Slot | LineEnd
"""A string is a literal that stands in the reply as it is."""


def reply_layout(
    rubric: Rubric, mode: Literal["critique", "score"] = "critique", *, pairwise: bool = False
) -> tuple[LayoutPart, ...]:
    """The parts of a reply under `rubric`, in order; in `score` mode it ends with the last score.

    A comparison (`pairwise`) has two scores and a winner per dimension, and no sections but judgement and summary.
    """
    parts: list[LayoutPart] = []
    if rubric.layout.analysis and not pairwise:
        parts += [f"# {ANALYSIS}\n", Slot("analysis"), LineEnd()]
    parts.append(f"# {JUDGEMENT}\n")
    for number, dimension in enumerate(rubric.dimensions, 1):
        parts.append(f"{number}. {dimension.title}:\n")
        for heading, slot in _fields(rubric, dimension, pairwise):
            parts += [f"## {heading}: ", slot, LineEnd()]
    if mode == "score":
        last = max(place for place, part in enumerate(parts) if isinstance(part, Slot) and part.kind == "score")
        return tuple(parts[: last + 1])
    parts += [f"# {SUMMARY}: ", Slot("summary")]
    if rubric.layout.refinement and not pairwise:
        parts += [LineEnd(blank=True), f"# {REFINEMENT}:\n## {COMMENTS}: ", Slot("comments")]
        parts += [LineEnd(), f"## {REFINED}: ", Slot("refined")]
    return tuple(parts)


def _fields(rubric: Rubric, dimension: Dimension, pairwise: bool) -> Iterator[tuple[str, Slot]]:
    """The headings of one dimension with their slots."""
    justification, score = (JUSTIFICATION, Slot("justification", dimension)), Slot("score", dimension)
    if pairwise:
        yield from (justification, (SCORE_A, score), (SCORE_B, score), (WINNER, Slot("winner", dimension)))
    elif rubric.layout.score_first:
        yield from ((SCORE, score), justification)
    else:
        yield from (justification, (SCORE, score))


def written_out(parts: tuple[LayoutPart, ...], text: Callable[[Slot], str]) -> str:
    """The layout with `text` of each slot in its place."""
    return "".join(
        part if isinstance(part, str) else text(part) if isinstance(part, Slot) else "\n\n" if part.blank else "\n"
        for part in parts
    )
