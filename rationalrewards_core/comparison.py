"""Pairwise outcomes: `Verdict` from two critiques, from one comparison reply, and from both orders together.

A comparison reply (arXiv 2604.11626, App. C) scores both images per dimension in one prompt. Judges
prefer a place as well as an image, so `Scorer.compare` asks in both orders and `agreed` decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from .errors import CritiqueParseError
from .parsing import Reason, read_score
from .rubric import JUSTIFICATION, SCORE, SUMMARY, WINNER, Rubric


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
            "judgements": [vars(j) for j in self.judgements],
            "summary": self.summary,
            "raw": list(self.raw),
        }


def verdict_of_rewards(reward_a: float, reward_b: float, margin: float = 0.0) -> Verdict:
    """A or B if its reward is higher by more than `margin`."""
    if abs(reward_a - reward_b) <= margin:
        return Verdict.TIE
    return Verdict.A if reward_a > reward_b else Verdict.B


def pair_rewards(judgements: tuple[PairJudgement, ...], rubric: Rubric) -> tuple[float, float]:
    """Rewards of A and B over the dimensions that apply to both (N/A for one is N/A for the pair)."""
    total_a = total_b = weight = 0.0
    for dimension, judgement in zip(rubric.dimensions, judgements, strict=True):
        if judgement.score_a is None or judgement.score_b is None:
            continue
        total_a += dimension.weight * rubric.scale.normalise(judgement.score_a)
        total_b += dimension.weight * rubric.scale.normalise(judgement.score_b)
        weight += dimension.weight
    return total_a / weight, total_b / weight


def parse_comparison(text: str, rubric: Rubric) -> Comparison:
    """Read a comparison reply. Raises `CritiqueParseError`; like `parse_critique` it never guesses."""
    if not text.strip():
        raise CritiqueParseError(Reason.EMPTY.value, "The reply is empty.", text)
    blocks, summary = _blocks(text, rubric)
    judgements = []
    for dimension in rubric.dimensions:
        lines = blocks.get(dimension.title.casefold())
        if lines is None:
            reason = Reason.MISSING_DIMENSION if blocks else Reason.NO_JUDGEMENT
            raise CritiqueParseError(reason.value, f"The reply does not judge '{dimension.title}'.", text)
        scores = [_one_score(lines, letter, dimension.title, dimension.optional, rubric, text) for letter in "AB"]
        judgements.append(
            PairJudgement(key=dimension.key, justification=_justification(lines), score_a=scores[0], score_b=scores[1])
        )
    if summary is None:
        raise CritiqueParseError(Reason.TRUNCATED.value, "The reply ends before its summary.", text)
    judged = tuple(judgements)
    verdict = verdict_of_rewards(*pair_rewards(judged, rubric), margin=1e-9)
    return Comparison(judgements=judged, verdict=verdict, summary=summary, raw=(text,))


def agreed(forward: Comparison, swapped: Comparison, rubric: Rubric) -> Comparison:
    """Both orders as one: scores are averaged, and verdicts that contradict each other make a tie."""
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
    contradict = {forward.verdict, back} == {Verdict.A, Verdict.B}
    verdict = Verdict.TIE if contradict else verdict_of_rewards(*pair_rewards(judgements, rubric), margin=1e-9)
    return Comparison(
        judgements=judgements,
        verdict=verdict,
        summary=forward.summary,
        orders_agree=forward.verdict == back,
        raw=forward.raw + swapped.raw,
    )


_DECORATED: Final = re.compile(r"[\s>#*_`\-•]*(?:\(?\d{1,2}[.):]\)?)?[\s*_`]*")
_SCORE_LINE: Final = re.compile(rf"{SCORE}\s*([AB])\s*[*_`]*\s*[:：]\s*(.*)", re.IGNORECASE)
_JUSTIFICATION_LINE: Final = re.compile(rf"{JUSTIFICATION}\s*[*_`]*\s*[:：]\s*(.*)", re.IGNORECASE)
_WINNER_LINE: Final = re.compile(rf"{WINNER}\s*[*_`]*\s*[:：]", re.IGNORECASE)
_SUMMARY_LINE: Final = re.compile(rf"{SUMMARY}\s*[*_`]*\s*[:：]?\s*[*_`]*\s*(.*)", re.IGNORECASE)


def _blocks(text: str, rubric: Rubric) -> tuple[dict[str, list[str]], str | None]:
    """The undecorated lines under each dimension's heading (by casefolded title), and the summary."""
    titles = {dimension.title.casefold() for dimension in rubric.dimensions}
    blocks: dict[str, list[str]] = {}
    current: list[str] | None = None
    lines = iter(text.splitlines())
    for line in lines:
        bare = line[_DECORATED.match(line).end() :] if len(line) < 4000 else line  # type: ignore[union-attr]
        name = bare[:200].strip(" *_`:：\t").casefold().replace("&", "and")
        if name in titles:
            if name in blocks:
                raise CritiqueParseError(Reason.OUT_OF_ORDER.value, f"'{name}' is judged twice.", text)
            current = blocks[name] = []
        elif line.lstrip().startswith("#") and (match := _SUMMARY_LINE.match(bare)):
            return blocks, "\n".join([match[1], *lines]).strip()
        elif current is not None:
            current.append(bare)
    return blocks, None


def _one_score(lines: list[str], letter: str, title: str, optional: bool, rubric: Rubric, raw: str) -> float | None:
    matches = [match for line in lines if (match := _SCORE_LINE.match(line)) and match[1].upper() == letter]
    found = {read_score(match[2], rubric) for match in matches}
    if not found:
        raise CritiqueParseError(Reason.MISSING_SCORE.value, f"'{title}' has no score for image {letter}.", raw)
    if len(found) > 1:
        raise CritiqueParseError(Reason.CONFLICTING_SCORES.value, f"'{title}' has two scores for image {letter}.", raw)
    score = found.pop()
    if score.problem is not None:
        raise CritiqueParseError(score.problem.value, f"The score of '{title}' for image {letter} cannot be used.", raw)
    if score.value is None and not optional:
        raise CritiqueParseError(Reason.NOT_OPTIONAL.value, f"'{title}' always applies but has N/A.", raw)
    return score.value


def _justification(lines: list[str]) -> str:
    kept = []
    for line in lines:
        if match := _JUSTIFICATION_LINE.match(line):
            kept.append(match[1])
        elif not (_SCORE_LINE.match(line) or _WINNER_LINE.match(line)):
            kept.append(line)
    return "\n".join(kept).strip()


def _mean(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else (first + second) / 2
