"""Looks at every line that is no heading of the rubric: does it take back a score that has been read?"""

from __future__ import annotations

import re
from typing import Final

from ..headings import CORRECTIONS, OVERALL, Headings
from ..rubric import Dimension, Rubric
from ..spelling import plain, squeezed
from .corrections import (
    differs,
    number_of_a_bare_line,
    numbers_of_a_correction,
    speaks_of_an_earlier_score,
)
from .score_sheet import ScoreSheet
from .score_text import Reason, continues_a_number, read_score

_SCORES_AGAIN: Final = re.compile(
    r"\b(?:final|new|updated|revised|corrected|adjusted) (?:scores|ratings)\b", re.IGNORECASE
)
"""All scores once more, in order."""
_NOT_APPLICABLE_ALONE: Final = re.compile(r"[*_`(\[\s]*n\s?/?\s?a[*_`)\]\s.]*", re.IGNORECASE)
_SHOWN: Final = 80
"""So much of a line is quoted in a message."""


class CorrectionWatch:
    """Raises `CritiqueParseError` for a line that leaves open which score is meant."""

    def __init__(self, rubric: Rubric, sheet: ScoreSheet) -> None:
        self._rubric, self._sheet = rubric, sheet
        own = {squeezed(dimension.title) for dimension in rubric.dimensions}
        self._overall = Headings([name for name in OVERALL if squeezed(name) not in own])
        self._corrections = Headings(CORRECTIONS)
        self._titles = {squeezed(dimension.title): dimension for dimension in rubric.dimensions}
        titles = "|".join(re.escape(plain(d.title)) for d in sorted(rubric.dimensions, key=lambda d: -len(d.title)))
        self._repeated = re.compile(
            rf"(?<!\w)(?P<title>{titles})[*_`]{{0,3}}\s?(?:[(\[:=–—]|\s-\s)\s?[*_`]{{0,3}}(?P<score>[+-]?[0-9]{{1,3}}(?:[.,][0-9]{{1,2}}(?=\.\s)|(?:[.,][0-9]{{1,2}})?(?=[*_`\s]*(?:[)\],;/]|\.?$))))",
            re.IGNORECASE,
        )

    def sums_up(self, line: str) -> bool:
        """Whether a line is a heading over all dimensions: `Overall: 3.2` is nobody's correction."""
        heading = self._overall.match(line)
        return heading is not None and bool(heading.name)

    def look_behind_score(self, line: str, dimension: Dimension, *, follows: bool, explains: bool) -> None:
        """A line below the score of `dimension`; `follows` if it is the first one, `explains` if it is a justification.

        A justification may count things: only words that always take something back count in it.
        """
        if follows and continues_a_number(line):
            raise self._sheet.error(
                Reason.UNREADABLE_SCORE, f"The score of '{dimension.title}' goes on in the next line."
            )
        self._check_repeated(line)
        scores = self._sheet[dimension].values
        heading = self._corrections.match(line)
        if heading is not None and heading.name and differs((read_score(heading.rest, self._rubric).value,), scores):
            raise self._corrected(line, dimension.title)
        one = len(scores) == 1  # of two scores any line may speak, and which it corrects is open
        numbers = numbers_of_a_correction(line, self._rubric.scale, near=one and not explains)
        bare = number_of_a_bare_line(line, self._rubric.scale)
        if bare is not None and one and not explains and not self.sums_up(line):
            numbers = (*(numbers or ()), bare)
        if follows and _NOT_APPLICABLE_ALONE.fullmatch(line):
            numbers = (*(numbers or ()), None)
        if numbers is not None and differs(numbers, {*scores, *self._scores_named(line)} if one else ()):
            raise self._corrected(line, dimension.title)

    def look_elsewhere(self, line: str, *, after_scores: bool, sums_up: bool = False) -> None:
        """A line that stands below no score: it may name a dimension, or an earlier score.

        `after_scores` if all judgements stand before it, `sums_up` if it is of the summary: the less it has to say to be a
        correction.
        """
        self._check_repeated(line)
        scale = self._rubric.scale
        again = after_scores and _SCORES_AGAIN.search(line) is not None
        numbers = numbers_of_a_correction(line, scale, near=again)
        if not numbers:
            return
        own, everywhere = self._scores_named(line), self._all_scores()
        if own:
            wrong = differs(numbers, own)
        elif again and everywhere:
            wrong = numbers != tuple(everywhere)
        elif after_scores and everywhere and number_of_a_bare_line(line, scale) is not None:
            wrong = True  # whose score it would be is open
        else:
            wrong = (sums_up or speaks_of_an_earlier_score(line)) and bool(everywhere) and differs(numbers, everywhere)
        if wrong:
            raise self._corrected(line, "")

    def _check_repeated(self, line: str) -> None:
        """A score that is said again beside its dimension's title has to be the same: `Text Rendering (3.5)`."""
        for match in self._repeated.finditer(plain(line).replace("\u2212", "-")):
            dimension = self._titles.get(squeezed(match["title"]))
            block = self._sheet.get(dimension) if dimension else None
            score = read_score(match["score"], self._rubric)
            if dimension is None or block is None or len(block.values) != 1 or score.problem:
                continue
            if score.value not in block.values:
                raise self._corrected(line, dimension.title)

    def _all_scores(self) -> list[float | None]:
        return [value for _, block in self._sheet.scored() for value in block.values]

    def _scores_named(self, line: str) -> set[float | None]:
        """The scores of every dimension that a line names."""
        folded = plain(line).casefold()
        blocks = (block for dimension, block in self._sheet.scored() if plain(dimension.title).casefold() in folded)
        return {value for block in blocks for value in block.values}

    def _corrected(self, line: str, title: str) -> Exception:
        whose = f"The score of '{title}'" if title else "A score"
        return self._sheet.error(Reason.CONFLICTING_SCORES, f"{whose} is taken back by {line[:_SHOWN]!r}.")
