"""How a loop ended, in one line for a person: why it stopped, and what its best image lacks, with the figures."""

from __future__ import annotations

from collections.abc import Mapping

from ..critique import Critique
from ..rubric import Rubric
from .refine import RefineState, StopReason


def ending(state: RefineState, reason: StopReason, titles: Mapping[str, str]) -> str:
    """The reason's own sentence and, unless the best image is good enough, what it lacks.

    `titles` gives dimensions their headings by key; a dimension without one goes by its key.
    """
    return f"{reason.sentence} {shortfall(state, titles)}".rstrip()


def shortfall(state: RefineState, titles: Mapping[str, str]) -> str:
    """What the best image lacks, in one sentence; empty if it lacks nothing or there is no image yet."""
    best = state.best
    if best is None:
        return "No image could be scored." if state.steps else ""
    lacks = []
    if best.reward is not None and best.reward < state.policy.threshold:
        lacks.append(f"reward {_below(best.reward, state.policy.threshold, 2)}")
    if isinstance(best.outcome, Critique):
        for key in state.failing(best.outcome):
            score, minimum = best.outcome.scores[key], state.policy.minimum_scores.get(key, state.policy.minimum_score)
            if score is not None:
                lacks.append(f"{titles.get(key, key)} {_below(score, minimum, 1)}")
    return f"The best image falls short: {', '.join(lacks)}." if lacks else ""


def titles_of(rubric: Rubric) -> dict[str, str]:
    """The headings of a rubric's dimensions, by key."""
    return {dimension.key: dimension.title for dimension in rubric.dimensions}


def _below(value: float, limit: float, digits: int) -> str:
    """`2.7 is below 3.0`, with as many more digits as it takes to see the difference."""
    while digits < 6 and f"{value:.{digits}f}" == f"{limit:.{digits}f}":
        digits += 1
    return f"{value:.{digits}f} is below {limit:.{digits}f}"
