"""Best of N by a judge that only compares: every candidate meets every other, in both orders, and its share of wins is its score.

N candidates take N (N - 1) replies. The score says how a candidate stands among these others, and nothing about it alone:
one candidate has no score, and neither has one of whose meetings more than half could not be judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import combinations

from .comparison import Comparison, Verdict
from .critique import Critique, Judgement, Unscored
from .rubric import Rubric

ALONE = "nothing_to_compare"
POINTS = {Verdict.A: (1.0, 0.0), Verdict.B: (0.0, 1.0), Verdict.TIE: (0.5, 0.5)}

Meeting = tuple[int, int]
"""Places of two candidates, the lower one first: A of their comparison."""


def meetings(count: int) -> list[Meeting]:
    """Every pair of `count` candidates, once."""
    return list(combinations(range(count), 2))


def standings(
    count: int, games: Mapping[Meeting, Comparison | Unscored], rubric: Rubric
) -> tuple[Critique | Unscored, ...]:
    """Per candidate a critique on the rubric's one dimension, or why it has none."""
    if count == 1:
        return (Unscored(reason=ALONE, message=f"{rubric.name} compares images: give it two or more of one request."),)
    return tuple(_standing(place, games, rubric) for place in range(count))


def _standing(place: int, games: Mapping[Meeting, Comparison | Unscored], rubric: Rubric) -> Critique | Unscored:
    points: list[float] = []
    notes: list[str] = []
    raw: list[str] = []
    failures: list[Unscored] = []
    for pair, outcome in games.items():
        if place not in pair:
            continue
        side, other = pair.index(place), pair[1 - pair.index(place)]
        if isinstance(outcome, Unscored):
            failures.append(outcome)
            notes.append(f"Image {other + 1}: not judged ({outcome.reason}).")
            continue
        points.append(POINTS[outcome.verdict][side])
        notes.append(f"{_WORDS[points[-1]]} image {other + 1}{_order(outcome)}.")
        raw += outcome.raw
    if len(failures) > len(points):
        reason, times = Counter(failure.reason for failure in failures).most_common(1)[0]
        first = next(failure for failure in failures if failure.reason == reason)
        return Unscored(
            reason=reason,
            message=f"{times} of {len(points) + len(failures)} comparisons with other images failed: {first.message}",
            raw=first.raw,
        )
    (dimension,), scale = rubric.dimensions, rubric.scale
    score = scale.minimum + (scale.maximum - scale.minimum) * sum(points) / len(points)
    judgement = Judgement(key=dimension.key, justification=" ".join(notes), score=score)
    return Critique(rubric=rubric.name, judgements=(judgement,), raw="\n\n".join(raw))


_WORDS = {1.0: "Better than", 0.0: "Worse than", 0.5: "Even with"}


def _order(comparison: Comparison) -> str:
    return " (the orders disagree)" if comparison.orders_agree is False else ""
