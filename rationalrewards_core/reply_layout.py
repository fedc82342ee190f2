"""How a reply is laid out, written once: openings with their headings, slots, and the line ends that close a slot.

The prompt's skeleton (`messages`), the grammar (`grammar`), the rendering (`critique`, `comparison`) and the headings that
the parser looks for (`replies`) walk it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise as neighbours
from typing import Final, Literal

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

SUMMARY_LINE: Final = f"\n# {SUMMARY}"
"""Where a reply in `score` mode is stopped: every score stands before it."""

Level = Literal["section", "dimension", "field"]
SlotKind = Literal["analysis", "justification", "score", "winner", "summary", "comments", "refined"]


@dataclass(frozen=True)
class Opening:
    """A literal that stands in the reply as it is, with the headings in it."""

    text: str
    headings: tuple[str, ...]
    level: Level


@dataclass(frozen=True)
class Slot:
    """Where the judge writes."""

    kind: SlotKind
    dimension: Dimension | None = None
    """Of a justification, a score and a winner."""
    side: Literal["", "A", "B"] = ""
    """Whose score it is in a comparison."""


@dataclass(frozen=True)
class LineEnd:
    """Closes a slot; what is written here leaves a blank line where a section begins."""

    blank: bool = False


LayoutPart = Opening | Slot | LineEnd


def reply_layout(
    rubric: Rubric, mode: Literal["critique", "score"] = "critique", *, pairwise: bool = False
) -> tuple[LayoutPart, ...]:
    """The parts of a reply under `rubric`, in order; in `score` mode it ends with the last score.

    A comparison (`pairwise`) has two scores and a winner per dimension, and no sections but judgement and summary.
    """
    parts: list[LayoutPart] = []
    if rubric.layout.analysis and not pairwise:
        parts += [_opening("section", "# {}\n", ANALYSIS), Slot("analysis"), LineEnd()]
    parts.append(_opening("section", "# {}\n", JUDGEMENT))
    for number, dimension in enumerate(rubric.dimensions, 1):
        parts.append(_opening("dimension", f"{number}. {{}}:\n", dimension.title))
        for heading, slot in _fields(rubric, dimension, pairwise):
            parts += [_opening("field", "## {}: ", heading), slot, LineEnd()]
    if mode == "score":
        last = max(place for place, part in enumerate(parts) if isinstance(part, Slot) and part.kind == "score")
        return tuple(parts[: last + 1])
    parts += [_opening("section", "# {}: ", SUMMARY), Slot("summary")]
    if rubric.layout.refinement and not pairwise:
        opening = _opening("section", "# {}:\n## {}: ", REFINEMENT, COMMENTS)
        parts += [LineEnd(blank=True), opening, Slot("comments")]
        parts += [LineEnd(), _opening("section", "## {}: ", REFINED), Slot("refined")]
    return tuple(parts)


def _opening(level: Level, text: str, *headings: str) -> Opening:
    return Opening(text.format(*headings), headings, level)


def _fields(rubric: Rubric, dimension: Dimension, pairwise: bool) -> Iterator[tuple[str, Slot]]:
    """The headings of one dimension with their slots."""
    justification, score = (JUSTIFICATION, Slot("justification", dimension)), Slot("score", dimension)
    if pairwise:
        scores = (SCORE_A, Slot("score", dimension, "A")), (SCORE_B, Slot("score", dimension, "B"))
        yield from (justification, *scores, (WINNER, Slot("winner", dimension)))
    elif rubric.layout.score_first:
        yield from ((SCORE, score), justification)
    else:
        yield from (justification, (SCORE, score))


def written_out(parts: tuple[LayoutPart, ...], text: Callable[[Slot], str]) -> str:
    """The layout with `text` of each slot in its place."""
    return "".join(text(part) if isinstance(part, Slot) else _fixed(part) for part in parts)


def fixed_stretches(parts: tuple[LayoutPart, ...]) -> Iterator[tuple[Slot, str]]:
    """Every slot with what stands before it, from the slot before it on."""
    stretch = ""
    for part in parts:
        if isinstance(part, Slot):
            yield part, stretch
            stretch = ""
        else:
            stretch += _fixed(part)


def _fixed(part: Opening | LineEnd) -> str:
    if isinstance(part, Opening):
        return part.text
    return "\n\n" if part.blank else "\n"


@dataclass(frozen=True, kw_only=True)
class ReplyHeadings:
    """The headings by which the parts of a reply are known again, in the order in which a reply has them."""

    sections: tuple[str, ...]
    fields: tuple[str, ...]
    """Of one dimension."""
    scores: tuple[str, ...]
    """Those of the fields that hold a score."""
    notes: tuple[str, ...]
    """Those of the fields that are kept as they stand: a comparison's winner."""


@lru_cache(maxsize=64)
def reply_headings(rubric: Rubric, *, pairwise: bool = False) -> ReplyHeadings:
    """The headings of a reply under `rubric`, with every section that a layout can have: judges write them unasked."""
    whole = reply_layout(replace(rubric, layout=replace(rubric.layout, analysis=True, refinement=True)))
    fields = {
        opening.headings[-1]: slot.kind
        for opening, slot in neighbours(reply_layout(rubric, pairwise=pairwise))
        if isinstance(opening, Opening) and opening.level == "field" and isinstance(slot, Slot)
    }
    return ReplyHeadings(
        sections=tuple(
            h for part in whole if isinstance(part, Opening) and part.level == "section" for h in part.headings
        ),
        fields=tuple(fields),
        scores=tuple(heading for heading, kind in fields.items() if kind == "score"),
        notes=tuple(heading for heading, kind in fields.items() if kind == "winner"),
    )
