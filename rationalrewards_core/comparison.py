"""Pairwise outcomes: `Verdict` from two critiques, from one comparison reply, and from both orders together.

A comparison reply (arXiv 2604.11626, App. C) scores both images per dimension in one prompt. Judges
prefer a place as well as an image, so `Scorer.compare` asks in both orders and `agreed` decides.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Final

from .critique import Critique
from .replies.parsing import Reading, Reason
from .replies.profile_reading import ProfileReading
from .reply_layout import Slot, reply_layout, written_out
from .rubric import NOT_APPLICABLE, SCORE_A, SCORE_B, SUMMARY, WINNER, WINNERS, Dimension, Rubric
from .spelling import plain

_WINNER_NAME: Final = re.compile(r"[*_`\"'\s]*(?:image\s+)?([AB])[*_`\"'\s.]*$", re.IGNORECASE)
"""`Image A` or `B`; anything else (a tie, N/A, a sentence) decides nothing."""


class Verdict(str, Enum):
    """Which of two candidates is better."""

    A = "A"
    B = "B"
    TIE = "TIE"

    @property
    def swapped(self) -> Verdict:
        return {Verdict.A: Verdict.B, Verdict.B: Verdict.A, Verdict.TIE: Verdict.TIE}[self]


@dataclass(frozen=True, kw_only=True)
class PairJudgement:
    """One dimension of a comparison; scores are None for N/A."""

    key: str
    justification: str
    score_a: float | None
    score_b: float | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One comparison reply, or two of them that agree."""

    judgements: tuple[PairJudgement, ...]
    verdict: Verdict
    summary: str = ""
    orders_agree: bool | None = None
    """Whether the swapped order gave the same verdict; None if it was asked in one order only."""
    raw: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict.value,
            "orders_agree": self.orders_agree,
            "judgements": [asdict(j) for j in self.judgements],
            "summary": self.summary,
            "raw": list(self.raw),
        }


def verdict_of_rewards(reward_a: float, reward_b: float, margin: float = 0.0) -> Verdict:
    """A or B if its reward is higher by more than `margin`."""
    if abs(reward_a - reward_b) <= margin:
        return Verdict.TIE
    return Verdict.A if reward_a > reward_b else Verdict.B


def pair_rewards(judgements: tuple[PairJudgement, ...], rubric: Rubric) -> tuple[float, float]:
    """Rewards of A and B over the dimensions that apply to both (N/A for one is N/A for the pair).

    Raises ValueError if no such dimension carries weight; every reply that could be read has one.
    """
    total_a = total_b = weight = 0.0
    for dimension, judgement in zip(rubric.dimensions, judgements, strict=True):
        if judgement.score_a is None or judgement.score_b is None:
            continue
        total_a += dimension.weight * rubric.scale.normalise(judgement.score_a)
        total_b += dimension.weight * rubric.scale.normalise(judgement.score_b)
        weight += dimension.weight
    if weight <= 0:
        raise ValueError("no dimension that applies to both candidates carries weight")
    return total_a / weight, total_b / weight


def parse_comparison(text: str, rubric: Rubric) -> Comparison:
    """Read a comparison reply. Raises `CritiqueParseError`; like `parse_critique` it never guesses.

    Scores decide. A `Winner` line that names the image with the lower score makes the reply unusable.
    """
    if rubric.profile is not None:
        return _vote(text, rubric)
    reading = Reading(text, rubric, pairwise=True)
    reading.needs_summary(in_words=True)
    judgements = tuple(_pair_judgement(reading, dimension) for dimension in rubric.dimensions)
    verdict = verdict_of_rewards(*pair_rewards(judgements, rubric), margin=1e-9)
    return Comparison(judgements=judgements, verdict=verdict, summary=reading.text_of(SUMMARY), raw=(text,))


def render_comparison(comparison: Comparison, rubric: Rubric) -> str:
    """Write a comparison in the rubric's grammar, the way a well-trained judge would."""
    judgements = {judgement.key: judgement for judgement in comparison.judgements}

    def text(slot: Slot) -> str:
        if slot.dimension is None:
            return comparison.summary
        judgement = judgements[slot.dimension.key]
        if slot.kind == "justification":
            return judgement.justification
        if slot.kind == "winner":
            return _winner_of(judgement)
        return rubric.scale.format(judgement.score_a if slot.side == "A" else judgement.score_b)

    return written_out(reply_layout(rubric, pairwise=True), text)


def _winner_of(judgement: PairJudgement) -> str:
    if judgement.score_a is None or judgement.score_b is None:
        return NOT_APPLICABLE
    verdict = verdict_of_rewards(judgement.score_a, judgement.score_b)
    return dict(zip(Verdict, WINNERS, strict=True))[verdict]


def _vote(text: str, rubric: Rubric) -> Comparison:
    """The verdict of a judge that names a winner and gives no scores: a vote, on the ends of its one dimension's scale."""
    reading, (dimension,) = ProfileReading(text, rubric), rubric.dimensions
    verdict, scale = Verdict(reading.winner()), rubric.scale
    half = (scale.minimum + scale.maximum) / 2
    votes = {Verdict.A: (scale.maximum, scale.minimum), Verdict.B: (scale.minimum, scale.maximum)}
    score_a, score_b = votes.get(verdict, (half, half))
    judgement = PairJudgement(
        key=dimension.key, justification=reading.words(dimension), score_a=score_a, score_b=score_b
    )
    return Comparison(judgements=(judgement,), verdict=verdict, raw=(text,))


def _pair_judgement(reading: Reading, dimension: Dimension) -> PairJudgement:
    judgement = PairJudgement(
        key=dimension.key,
        justification=reading.justification(dimension),
        score_a=reading.score(dimension, SCORE_A),
        score_b=reading.score(dimension, SCORE_B),
    )
    winner = _WINNER_NAME.match(plain(reading.note(dimension, WINNER)))
    if winner is not None and judgement.score_a is not None and judgement.score_b is not None:
        verdict = verdict_of_rewards(judgement.score_a, judgement.score_b)
        if verdict is Verdict(winner[1].upper()).swapped:
            message = f"'{dimension.title}' names the image with the lower score as the winner."
            raise reading.error(Reason.CONFLICTING_SCORES, message)
    return judgement


def pointwise_comparison(first: Critique, second: Critique, rubric: Rubric) -> Comparison:
    """Two critiques side by side: each candidate was judged alone."""
    judgements = tuple(
        PairJudgement(
            key=a.key,
            justification=f"A: {a.justification}\nB: {b.justification}",
            score_a=a.score,
            score_b=b.score,
        )
        for a, b in zip(first.judgements, second.judgements, strict=True)
    )
    verdict: Verdict = verdict_of_rewards(*pair_rewards(judgements, rubric), margin=1e-9)
    return Comparison(judgements=judgements, verdict=verdict, raw=(first.raw, second.raw))


def agreed(forward: Comparison, swapped: Comparison, rubric: Rubric) -> Comparison:
    """Both orders as one: scores are averaged, and verdicts that contradict each other make a tie.

    A verdict that both orders gave stands, even where an N/A in one of them took a dimension out of the averages.
    """
    judgements = tuple(
        PairJudgement(
            key=first.key,
            justification=first.justification,
            score_a=_mean(first.score_a, second.score_b),
            score_b=_mean(first.score_b, second.score_a),
        )
        for first, second in zip(forward.judgements, swapped.judgements, strict=True)
    )
    back = swapped.verdict.swapped
    if forward.verdict is back:
        verdict = back
    elif {forward.verdict, back} == {Verdict.A, Verdict.B}:
        verdict = Verdict.TIE
    else:
        verdict = verdict_of_rewards(*pair_rewards(judgements, rubric), margin=1e-9)
    return Comparison(
        judgements=judgements,
        verdict=verdict,
        summary=forward.summary,
        orders_agree=forward.verdict is back,
        raw=forward.raw + swapped.raw,
    )


def _mean(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else (first + second) / 2
