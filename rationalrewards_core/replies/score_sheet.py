"""The scores of one reply as they are read, by dimension: a score that contradicts another is a failure, not a choice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ..errors import CritiqueParseError
from ..rubric import Dimension, Rubric
from .score_text import Reason, ScoreText


@dataclass
class Block:
    """What has been read about one dimension."""

    text: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    scores: dict[str, ScoreText] = field(default_factory=dict)
    """By field: `Score`, or `Score A` and `Score B`."""
    notes: dict[str, str] = field(default_factory=dict)
    headings: int = 0
    """How often the dimension's heading opened it."""
    justifications: int = 0
    score_lines: Counter[str] = field(default_factory=Counter)

    @property
    def values(self) -> tuple[float | None, ...]:
        return tuple(score.value for score in self.scores.values())


@dataclass(frozen=True)
class Claim:
    """A dimension's score as a table or a JSON value gives it."""

    dimension: Dimension
    score: ScoreText
    justification: str = ""


class ScoreSheet:
    """The blocks of one reply. Whatever cannot be used raises `CritiqueParseError` with the reply in it."""

    def __init__(self, rubric: Rubric, score_fields: tuple[str, ...], raw: str) -> None:
        self._rubric, self._score_fields, self._raw = rubric, score_fields, raw
        self._blocks: dict[str, Block] = {}
        self._set_aside: dict[str, Mapping[str, ScoreText]] = {}

    def __bool__(self) -> bool:
        """Whether any dimension has been opened."""
        return bool(self._blocks)

    def __getitem__(self, dimension: Dimension) -> Block:
        return self._blocks[dimension.key]

    def get(self, dimension: Dimension) -> Block | None:
        return self._blocks.get(dimension.key)

    def open(self, dimension: Dimension) -> Block:
        """The dimension's block, with one more heading."""
        block = self._blocks.setdefault(dimension.key, Block())
        block.headings += 1
        return block

    def scored(self) -> Iterator[tuple[Dimension, Block]]:
        """Every dimension that has a score so far."""
        for dimension in self._rubric.dimensions:
            block = self._blocks.get(dimension.key)
            if block is not None and block.scores:
                yield dimension, block

    def set_aside(self) -> None:
        """Scores so far stand before the judgement: they are none, but they must not contradict it."""
        self._set_aside = {key: block.scores for key, block in self._blocks.items()}
        self._blocks = {}

    def record(self, dimension: Dimension, score_field: str, score: ScoreText) -> None:
        block = self._blocks[dimension.key]
        self.check(dimension, block.scores.get(score_field), score)
        block.scores[score_field] = score
        block.score_lines[score_field] += 1
        block.remarks.append(score.remark)

    def check(self, dimension: Dimension, earlier: ScoreText | None, score: ScoreText) -> None:
        """Raise unless a score can be used and is the earlier one, if there is any."""
        if score.problem is not None:
            raise self.error(score.problem, f"The score of '{dimension.title}' cannot be used.")
        if score.value is None and not dimension.optional:
            raise self.error(Reason.NOT_OPTIONAL, f"'{dimension.title}' always applies but was answered with N/A.")
        if earlier is not None and earlier != score:
            raise self.error(Reason.CONFLICTING_SCORES, f"'{dimension.title}' has two different scores.")

    def claim(self, claims: list[Claim], score_field: str) -> None:
        """Take over the scores of tables and JSON; where headings have given scores, those must be the same."""
        any_score = any(True for _ in self.scored())
        for claim in claims:
            block = self._blocks.get(claim.dimension.key)
            earlier = block.scores.get(score_field) if block else None
            if earlier is not None or any_score:
                self.check(claim.dimension, earlier, claim.score)
                continue
            if block is None:
                block = self.open(claim.dimension)
            self.record(claim.dimension, score_field, claim.score)
            block.text.append(claim.justification)

    def is_scored(self, dimension: Dimension) -> bool:
        block = self._blocks.get(dimension.key)
        return block is not None and all(name in block.scores for name in self._score_fields)

    def first_unscored(self) -> int | None:
        """Place of the first dimension that lacks a score."""
        places = (place for place, dimension in enumerate(self._rubric.dimensions) if not self.is_scored(dimension))
        return next(places, None)

    def check_complete(self, *, ended: bool) -> None:
        """Raise unless every dimension has its scores; `ended` tells whether the reply went on to its summary."""
        dimensions = self._rubric.dimensions
        gap = self.first_unscored()
        if gap is not None:
            title = dimensions[gap].title
            # Nothing after the gap: the reply stopped there. Something after it: the judge left it out.
            if not ended and not any(self.is_scored(d) for d in dimensions[gap:]):
                raise self.error(Reason.TRUNCATED, f"The reply ends before the score of '{title}'.")
            reason = Reason.MISSING_SCORE if dimensions[gap].key in self._blocks else Reason.MISSING_DIMENSION
            raise self.error(reason, f"The reply has no score for '{title}'.")
        for dimension in dimensions:
            block = self._blocks[dimension.key]
            for name, score in self._set_aside.get(dimension.key, {}).items():
                self.check(dimension, block.scores[name], score)
            if block.headings > 1 and any(block.score_lines[name] < block.headings for name in self._score_fields):
                raise self.error(Reason.OUT_OF_ORDER, f"'{dimension.title}' is opened twice but scored once.")

    def error(self, reason: Reason, message: str) -> CritiqueParseError:
        return CritiqueParseError(reason.value, message, self._raw)
