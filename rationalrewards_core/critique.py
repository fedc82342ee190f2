"""The critique: what a judge says about one candidate, in words and scores.

`Critique` is the product of this project; `render_critique` writes one in the rubric's grammar (used
to train a student and to test the parser) and `parsing.parse_critique` reads one back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev
from typing import Any

from .reply_layout import SUMMARY_LINE, Slot, reply_layout, written_out
from .rubric import Rubric


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One dimension's justification and score."""

    key: str
    """Key of the `Dimension` judged."""
    justification: str
    """The evidence, in words; empty when the model gave none."""
    score: float | None
    """On the rubric's scale; None means N/A (not applicable), never "missing"."""
    expected: float | None = None
    """Mean of the score: over sampled critiques where `samples` is not 0, else under the model's token probabilities; None
    if the backend gives none."""
    spread: float | None = None
    """Standard deviation of the score; None if there is none. How sure the judge is, only where `samples` is not 0."""
    samples: int = 0
    """How many sampled critiques' scores `expected` and `spread` are taken over; 0: they come from the token probabilities of the
    score's digits, which were written after the justification had settled them."""


@dataclass(frozen=True, kw_only=True)
class Refinement:
    """What the judge would change in the request."""

    comments: str
    request: str
    """The rewritten request; empty when the judge wrote none."""


@dataclass(frozen=True, kw_only=True)
class Critique:
    """A judge's full answer about one candidate."""

    rubric: str
    """Name of the rubric it was written under."""
    judgements: tuple[Judgement, ...]
    """One per dimension of the rubric, in its order."""
    analysis: str = ""
    summary: str = ""
    refinement: Refinement | None = None
    """None in `score` mode and in layouts without a refinement section."""
    raw: str = field(default="", repr=False)
    """The reply as it came."""

    def judgement(self, key: str) -> Judgement:
        for judgement in self.judgements:
            if judgement.key == key:
                return judgement
        raise KeyError(key)

    @property
    def scores(self) -> dict[str, float | None]:
        """Dimension key -> score; None is N/A."""
        return {j.key: j.score for j in self.judgements}

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready table; `critique_from_json` reads it back."""
        refinement = self.refinement
        return {
            "rubric": self.rubric,
            "analysis": self.analysis,
            "judgements": [
                {
                    "key": j.key,
                    "justification": j.justification,
                    "score": j.score,
                    "expected": j.expected,
                    "spread": j.spread,
                    "samples": j.samples,
                }
                for j in self.judgements
            ],
            "summary": self.summary,
            "refinement": None
            if refinement is None
            else {"comments": refinement.comments, "request": refinement.request},
            "raw": self.raw,
        }


def score_part(critique: Critique) -> Critique:
    """What `score` mode would have answered: the critique's beginning, up to its summary. Scores stay what they are."""
    return replace(critique, summary="", refinement=None, raw=critique.raw.partition(SUMMARY_LINE)[0])


def critique_from_json(table: Mapping[str, Any]) -> Critique:
    """The inverse of `Critique.to_json`; a missing key is a KeyError, a text that is none a TypeError."""
    refinement = table["refinement"]
    return Critique(
        rubric=_text(table["rubric"]),
        analysis=_text(table["analysis"]),
        judgements=tuple(_judgement_from_json(row) for row in table["judgements"]),
        summary=_text(table["summary"]),
        refinement=None
        if refinement is None
        else Refinement(comments=_text(refinement["comments"]), request=_text(refinement["request"])),
        raw=_text(table["raw"]),
    )


def _judgement_from_json(row: Mapping[str, Any]) -> Judgement:
    return Judgement(
        key=_text(row["key"]),
        justification=_text(row["justification"]),
        score=row["score"],
        expected=row["expected"],
        spread=row["spread"],
        samples=row.get("samples", 0),  # absent before critiques could be sampled
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value


def with_probabilities(critique: Critique, statistics: Mapping[str, tuple[float, float]]) -> Critique:
    """The critique with (expected, spread) filled in for the dimensions that `statistics` names."""
    judgements = tuple(
        replace(j, expected=statistics[j.key][0], spread=statistics[j.key][1])
        if j.key in statistics and j.score is not None
        else j
        for j in critique.judgements
    )
    return replace(critique, judgements=judgements)


def with_samples(critique: Critique, sampled: Sequence[Critique]) -> Critique:
    """The critique with each score's `expected` and `spread` taken over what sampled critiques of the same picture gave it.

    Their N/A is no number; where none has one, `expected` stays as it is, and below two there is no spread.
    """

    def judged(judgement: Judgement) -> Judgement:
        if judgement.score is None:
            return judgement
        scores = [score for s in sampled if (score := s.judgement(judgement.key).score) is not None]
        expected = fmean(scores) if scores else judgement.expected
        spread = stdev(scores) if len(scores) > 1 else None
        return replace(judgement, expected=expected, spread=spread, samples=len(scores))

    return replace(critique, judgements=tuple(map(judged, critique.judgements)))


@dataclass(frozen=True, kw_only=True)
class Unscored:
    """No critique could be had. This is never a number: it is counted, shown, and left out of every mean."""

    reason: str
    """A stable code: `timeout`, `truncated`, `score_out_of_scale`, ... (see `errors` and `parsing.Reason`)."""
    message: str
    """One sentence for a person."""
    raw: str = field(default="", repr=False)
    """The reply, if one came."""

    def to_json(self) -> dict[str, Any]:
        return {"unscored": self.reason, "message": self.message, "raw": self.raw}


def render_critique(critique: Critique, rubric: Rubric) -> str:
    """Write a critique in the rubric's grammar, the way a well-trained judge would."""
    if critique.refinement is None:
        rubric = replace(rubric, layout=replace(rubric.layout, refinement=False))
    return written_out(reply_layout(rubric), lambda slot: _slot_text(slot, critique, rubric))


def _slot_text(slot: Slot, critique: Critique, rubric: Rubric) -> str:
    if slot.dimension is not None:
        judgement = critique.judgement(slot.dimension.key)
        return judgement.justification if slot.kind == "justification" else rubric.scale.format(judgement.score)
    refinement = critique.refinement or Refinement(comments="", request="")
    texts = {"analysis": critique.analysis, "summary": critique.summary}
    return {**texts, "comments": refinement.comments, "refined": refinement.request}[slot.kind]
