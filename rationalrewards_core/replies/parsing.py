"""Reading a critique back from what a model wrote.

Accepted: headings in bold, numbered, with or without `#` or colon; the score before or after the
justification, on the next line, in bold, as `3,5`, `3.5/4` or `3.5 out of 4`; `n/a` in any spelling
with a remark; a refined request of many lines; preambles, code fences, a closed `<think>` block; a table
or JSON value that gives every dimension one score.

Never guessed: whatever could be read in two ways raises `CritiqueParseError` with one of `Reason`. A
score that is corrected in free words (`Actually, 2.0`) is one of those.
"""

from __future__ import annotations

from typing import Literal

from ..critique import Critique, Judgement
from ..rubric import ANALYSIS, SCORE, SUMMARY, Rubric
from .profile_reading import ProfileReading
from .reading import Reading
from .score_text import Reason, ScoreText, read_score

__all__ = ["Mode", "Reading", "Reason", "ScoreText", "parse_critique", "read_score"]

Mode = Literal["critique", "score"]
"""`critique` wants every section of the layout; `score` wants every score and lets the rest be missing."""


def parse_critique(text: str, rubric: Rubric, mode: Mode = "critique") -> Critique:
    """Read a reply written under `rubric`. Raises `CritiqueParseError` with a `Reason` and the whole text."""
    if rubric.profile is not None:
        return _by_profile(text, rubric)
    reading = Reading(text, rubric)
    refinement = reading.refinement()
    if mode == "critique" and not reading.is_whole:
        reading.needs_summary(in_words=not rubric.layout.refinement)
        if rubric.layout.refinement and refinement is None:
            raise reading.error(Reason.TRUNCATED, "The reply ends before its refined request.")
    judgements = (
        Judgement(key=d.key, justification=reading.justification(d), score=reading.score(d, SCORE))
        for d in rubric.dimensions
    )
    return Critique(
        rubric=rubric.name,
        analysis=reading.text_of(ANALYSIS),
        judgements=tuple(judgements),
        summary=reading.text_of(SUMMARY),
        refinement=refinement,
        raw=text,
    )


def _by_profile(text: str, rubric: Rubric) -> Critique:
    """The scores of a judge that has its own form; its words stand as the justifications."""
    reading = ProfileReading(text, rubric)
    judgements = tuple(
        Judgement(key=d.key, score=reading.score(d), justification=reading.words(d)) for d in rubric.dimensions
    )
    return Critique(rubric=rubric.name, judgements=judgements, raw=text)
