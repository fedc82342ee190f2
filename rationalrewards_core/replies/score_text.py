"""What a score line says: exactly one number of the scale, or N/A, or why it cannot be used."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from ..rubric import Rubric, Scale
from ..spelling import plain
from .corrections import numbers_of_a_correction


class Reason(str, Enum):
    """Why a reply is not a critique. The value is what reports and metrics count by."""

    EMPTY = "empty_reply"
    NO_JUDGEMENT = "no_judgement"
    """No dimension of the rubric is mentioned as a heading: a refusal, small talk, another format."""
    TRUNCATED = "truncated"
    """The reply ends before its last section, or lacks one."""
    MISSING_DIMENSION = "missing_dimension"
    MISSING_SCORE = "missing_score"
    UNREADABLE_SCORE = "unreadable_score"
    """A score line says something that is not one number: a range, a word, a percentage, two numbers."""
    OUT_OF_SCALE = "score_out_of_scale"
    """A number outside the scale, or out of another total than the scale's."""
    NOT_OPTIONAL = "na_not_allowed"
    """N/A for a dimension that always applies."""
    CONFLICTING_SCORES = "conflicting_scores"
    """One dimension has two different scores."""
    OUT_OF_ORDER = "sections_out_of_order"
    """A section appears twice or judgement goes on after the summary: a quoted heading, a repeated reply."""


@dataclass(frozen=True)
class ScoreText:
    """A number, N/A (both None), or neither (`problem` says why)."""

    value: float | None = None
    problem: Reason | None = None
    remark: str = field(default="", compare=False)
    """What follows the score."""


MINUS: Final = "\u2212"
"""The minus sign of typesetting, which some models write; a dash is none."""
_DECIMAL: Final = r"[0-9]{1,9}(?:\.[0-9]{1,9}|,[0-9]{1,2})?"  # 3,500 is no decimal number
_UNIT: Final = r"(?:\s*(?:points?|pts?|stars?|分|点|점)(?!\w))?"
_NUMBER: Final = re.compile(
    rf"(?P<number>[+-]?{_DECIMAL}){_UNIT}"
    rf"(?P<total>[\s*_`)\]]*(?:/|(?:out\s+)?of)[\s*_`]*(?P<of>{_DECIMAL}){_UNIT})?",
    re.IGNORECASE,
)
_NOT_APPLICABLE: Final = re.compile(
    r"(?:n\s{0,3}[/\\]\s{0,3}a|n\.\s?a\.?|not[\s-]{1,3}applicable)(?!\w)|na(?=[\s*_`\"')\]]*(?:$|[-–—,.;:(]))",
    re.IGNORECASE,
)
_NOT_APPLICABLE_TOO: Final = re.compile(r"(?<!\w)(?:n/a|n\.a\.|not applicable)(?!\w)", re.IGNORECASE)
_OPENERS: Final = "*_`\"'“‘([<{ \t"
_CLOSERS: Final = "*_`\"'”’)]>} \t"
_NO_REMARK: Final = re.compile(r"\w|[%‰±+~^×⁄/]|[-–‑'’]\w")
"""A remark is set off by a punctuation mark; these continue the number or belong to a sentence."""
_LIST_NUMBER: Final = re.compile(r"[*_`(]{0,4}-?[0-9]{1,2}[.):、]{1,2}(?![0-9])[*_`\s]*[^*_`\s]")
_COUNT_OR_SCORE: Final = re.compile(r"(?<![0-9])[0-9]{1,9}(?:[.,][0-9]{1,9})?(?![0-9]|\s{0,3}[^\W\d_])")
"""A number that no word follows: next to an N/A it could be a score; `2 words` could not."""


_GOES_ON: Final = re.compile(
    r"[*_`]{0,3}(?:[.,]\s?[0-9]|[/⁄%±½¼¾]|[-–—−~][0-9]|(?:->|=>|[→⇒])\s*[0-9]|(?:to|or|but|minus|plus)\s+[*_`]{0,3}[0-9]"
    r"|,?\s*(?:points?\s+)?(?:out\s+)?of\s|[-–—−~(]?\s*[0-9]{1,9}(?:[.,][0-9]{1,9})?\)?[*_`]{0,3}$)",
    re.IGNORECASE,
)
_SCALE_STATED: Final = re.compile(
    r"\b(?:scores?|scored|scoring|rat(?:e|ed|ing|ings)|scale|judge)\b[^.\n0-9]{0,40}?"
    r"(?:([0-9]{1,3})\s*(?:to|-|–|—|and)\s*([0-9]{1,3})(?![0-9.,]*[0-9])|(?:out of|/)\s?([0-9]{1,3})(?![0-9.,]*[0-9]))",
    re.IGNORECASE,
)
_MOST_OF_A_LINE: Final = 400
_NUMBER_WORDS: Final = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_TOTAL_IN_WORDS: Final = re.compile(
    rf"(?:\bof|/)\s+(?:a\s+)?({'|'.join(_NUMBER_WORDS)}|fifty|hundred)\b", re.IGNORECASE
)


def read_score(text: str, rubric: Rubric, *, alone: bool = False) -> ScoreText:
    """Read what follows `Score:`: one number of the scale or N/A, with an optional remark.

    A remark may name the scale (`out of 4`, `1-4`) but no other number: `4.0, minus 0.5` and
    `3.5 (was 3.0)` could mean either. `alone` is for places where any text can stand (a line of its
    own, or after a dimension's title): `3. Colours` begins a list there, and is no score.
    """
    whole = plain(text).strip().replace(MINUS, "-")
    body = whole.lstrip(_OPENERS)
    if match := _NOT_APPLICABLE.match(body):
        return _not_applicable(body[match.end() :], rubric.scale)
    match = _NUMBER.match(body)
    if match is None or (alone and _LIST_NUMBER.match(whole)):
        return ScoreText(problem=Reason.UNREADABLE_SCORE)
    after = body[match.end() :].lstrip(_CLOSERS)
    below = "<" in whole[: len(whole) - len(body)] and ">" not in body[match.end() :][:6]  # `<3` is not `<3>`
    if below or _NO_REMARK.match(after) or _NO_REMARK.match(body, match.end()) or _names_another(after, rubric.scale):
        return ScoreText(problem=Reason.UNREADABLE_SCORE)
    value = _float(match["number"])
    other_total = match["of"] and _float(match["of"]) != rubric.scale.maximum
    if other_total or not rubric.scale.contains(value):
        return ScoreText(problem=Reason.OUT_OF_SCALE)
    return ScoreText(value=value, remark=after)


def continues_a_number(line: str) -> bool:
    """Whether a line goes on with the number that ended the line before: `.5`, `/5`, `to 4`, `out of ten`, `5` alone."""
    return _GOES_ON.match(plain(line)) is not None


def _not_applicable(after: str, scale: Scale) -> ScoreText:
    numbers = (_float(digits) for digits in _COUNT_OR_SCORE.findall(after))
    if any(scale.contains(number) or scale.contains(-number) for number in numbers):
        return ScoreText(problem=Reason.UNREADABLE_SCORE)
    return ScoreText(remark=after.lstrip(_CLOSERS))


def _names_another(after: str, scale: Scale) -> bool:
    """Whether a remark names a number that is not the scale's own, says N/A after all, or takes the score back."""
    if _NOT_APPLICABLE_TOO.search(after) or numbers_of_a_correction(after, scale, near=True) is not None:
        return True
    return names_another_scale(after, scale)


def names_another_scale(remark: str, scale: Scale) -> bool:
    """Whether a remark beside a score, or beside its label, names a number that is not the scale's own: `(1-5)`, `/10`."""
    remark = plain(remark).replace(MINUS, "-")
    for word in _TOTAL_IN_WORDS.findall(remark):
        if word.casefold() not in _NUMBER_WORDS or _NUMBER_WORDS.index(word.casefold()) != scale.maximum:
            return True
    low, high = (
        rf"(?<![0-9.,]){bound:g}(?:\.0{{1,3}})?(?![0-9]|[.,][0-9])" for bound in (scale.minimum, scale.maximum)
    )
    scale_named = rf"{low}\s{{0,3}}(?:-|–|—|to)\s{{0,3}}{high}|(?:/|\bof|\bmax(?:imum)?\b\.?:?)\s{{0,3}}{high}"
    return re.search(r"\d", re.sub(scale_named, "", remark, flags=re.IGNORECASE)) is not None


def states_another_scale(line: str, scale: Scale) -> bool:
    """Whether a sentence says that scores run from other numbers: `I score from 1 to 10`, `ratings out of 5`."""
    for match in _SCALE_STATED.finditer(plain(line)[:_MOST_OF_A_LINE]):
        low, high, total = (None if number is None else float(number) for number in match.groups())
        if (total if total is not None else high) != scale.maximum or (low is not None and low != scale.minimum):
            return True
    return False


def _float(number: str) -> float:
    return float(number.replace(",", ".")) + 0.0  # so that -0.0 is 0.0
