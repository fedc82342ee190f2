"""Critique cards: what the web side draws on a node, one table per image.

Every text in a card was written by a user or a model; whoever shows it shows it as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...rationalrewards_core.critique import Critique, Unscored
from ...rationalrewards_core.rubric import Rubric
from ..judge.thresholds import Gate
from ..sockets import Critiques
from .previews import TempImage

if TYPE_CHECKING:
    from ...rationalrewards_core.judged import Outcome

Card = dict[str, Any]


def critique_cards(
    critiques: Critiques,
    images: Sequence[TempImage | None] | None = None,
    minimums: Mapping[str, float] | None = None,
    threshold: float | None = None,
) -> list[Card]:
    """One JSON-ready card per outcome. `images` are pictures already saved (`previews`).

    `passed` is None without a `threshold`; an unscored image never passes.
    """
    minimums = minimums or {}
    gate = None if threshold is None else Gate(threshold=threshold, minimums=minimums)
    pictures = images if images is not None else [None] * len(critiques.outcomes)
    rows = zip(critiques.outcomes, critiques.rewards, pictures, strict=True)
    return [
        {
            "index": index,
            "reward": reward,
            "threshold": threshold,
            "passed": None if gate is None else _passes(gate, outcome, critiques.rubric),
            **_judge_words(outcome, critiques.rubric, minimums),
            "rubric": critiques.rubric.name,
            "scale": {"minimum": critiques.rubric.scale.minimum, "maximum": critiques.rubric.scale.maximum},
            "request": critiques.request.text,
            "notes": list(critiques.notes),
            "image": image,
        }
        for index, (outcome, reward, image) in enumerate(rows)
    ]


def _passes(gate: Gate, outcome: Outcome, rubric: Rubric) -> bool:
    return isinstance(outcome, Critique) and gate.passes(outcome, rubric)


def _judge_words(outcome: Outcome, rubric: Rubric, minimums: Mapping[str, float]) -> Card:
    """What the judge said, or why it said nothing."""
    if isinstance(outcome, Unscored):
        unscored = {"reason": outcome.reason, "message": outcome.message}
        return {"unscored": unscored, "dimensions": [], "analysis": "", "summary": "", "refinement": None}
    refinement = outcome.refinement
    return {
        "unscored": None,
        "dimensions": [_dimension(outcome, rubric, d.key, minimums.get(d.key)) for d in rubric.dimensions],
        "analysis": outcome.analysis,
        "summary": outcome.summary,
        "refinement": None if refinement is None else {"comments": refinement.comments, "request": refinement.request},
    }


def _dimension(critique: Critique, rubric: Rubric, key: str, minimum: float | None) -> Card:
    dimension, judgement = rubric.dimension(key), critique.judgement(key)
    return {
        "key": key,
        "title": dimension.title,
        "score": judgement.score,
        "expected": judgement.expected,
        "spread": judgement.spread,
        "justification": judgement.justification,
        "weight": dimension.weight,
        "minimum": minimum,
    }
