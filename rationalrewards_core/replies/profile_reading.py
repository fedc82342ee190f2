"""Reading the reply of a judge that has a profile: the values at their places, strictly, and the words around them.

What is missing, stands twice with two meanings, or is none of the answers that the profile names is a
`CritiqueParseError`; nothing is guessed, and no failure becomes a score.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from ..errors import CritiqueParseError
from ..judge_profile import JudgeProfile
from ..rubric import Dimension, Rubric
from ..spelling import squeezed
from ..thinking import answer_of
from .score_text import Reason, read_score

TIE: Final = "TIE"
_DRESS: Final = " \t\r\n*_`\"'.,;:"
MOST_VALUE: Final = 400
"""Characters of a value that are looked at."""


class ProfileReading:
    """A reply under a rubric with a profile. Raises CritiqueParseError if it is empty, unfinished or no JSON."""

    def __init__(self, text: str, rubric: Rubric) -> None:
        assert rubric.profile is not None
        self._raw, self._rubric, self._profile = text, rubric, rubric.profile
        if not text.strip():
            raise self._error(Reason.EMPTY, "The reply is empty.")
        opening = "{" if self._profile.form == "json" else _opening(self._profile, rubric.dimensions[0])
        answer = answer_of(text, lambda words: words.partition(opening)[0])
        if answer is None:
            raise self._error(Reason.TRUNCATED, "The reply ends inside its <think> block.")
        self._answer = answer.strip()
        self._table = self._json() if self._profile.form == "json" else {}
        self._matches: dict[str, list[re.Match[str]]] = {}

    def score(self, dimension: Dimension) -> float:
        """The dimension's score, on the rubric's scale."""
        text = self._value(dimension.key, dimension)
        read = read_score(text, self._rubric)
        if read.problem is not None or read.value is None:
            reason = read.problem or Reason.NOT_OPTIONAL
            raise self._error(reason, f"'{dimension.title}' is {text[:60]!r}, and no number of the scale.")
        return read.value

    def winner(self) -> str:
        """`A`, `B` or `TIE`, by the answers that the profile names."""
        text = self._value(self._profile.key, self._rubric.dimensions[0])
        answers = {"A": self._profile.first, "B": self._profile.second, TIE: self._profile.tie}
        for verdict, answer in answers.items():
            if answer and _bare(text) == _bare(answer):
                return verdict
        names = ", ".join(repr(answer) for answer in answers.values() if answer)
        raise self._error(Reason.UNREADABLE_SCORE, f"The verdict is {text[:60]!r}, and none of {names}.")

    def words(self, dimension: Dimension) -> str:
        """What justifies an answer that was read: the JSON's own words, or what stands before it and after the last one."""
        if self._profile.form == "json":
            words = self._table.get(self._profile.reason) if self._profile.reason else None
            return words.strip() if isinstance(words, str) else ""
        at = self._rubric.dimensions.index(dimension)
        begins = [match.start() for match in self._marks(dimension)]
        before = [match.end() for match in self._marks(self._rubric.dimensions[at - 1])] if at else [0]
        return self._answer[max(before) : max(begins)].strip()

    def _value(self, key: str, dimension: Dimension) -> str:
        if self._profile.form == "json":
            value = self._table.get(key)
            if value is None:
                raise self._error(Reason.MISSING_SCORE, f"The judge's JSON has no {key!r}.")
            if isinstance(value, bool) or not isinstance(value, (str, int, float)):
                raise self._error(Reason.UNREADABLE_SCORE, f"{key!r} of the judge's JSON is no number and no text.")
            return str(value)
        values = list(dict.fromkeys(_bare(match[1]) for match in self._marks(dimension)))
        if not values:
            mark = _opening(self._profile, dimension)
            raise self._error(Reason.NO_JUDGEMENT, f"The reply has no {mark!r}, after which the answer stands.")
        if len(values) > 1:
            both = " and ".join(repr(value) for value in values[:2])
            raise self._error(Reason.CONFLICTING_SCORES, f"The reply answers twice: {both}.")
        return next(match[1] for match in self._marks(dimension)).strip()

    def _marks(self, dimension: Dimension) -> list[re.Match[str]]:
        """Every place where an answer of this dimension stands; its text is group 1."""
        if dimension.key not in self._matches:
            self._matches[dimension.key] = self._searched(dimension)
        return self._matches[dimension.key]

    def _searched(self, dimension: Dimension) -> list[re.Match[str]]:
        opening = r"\s*".join(re.escape(word) for word in _opening(self._profile, dimension).split())
        closing = re.escape(self._profile.after) if self._profile.after else r"[^\S\n]*(?:\n|\Z)"
        return list(re.finditer(rf"{opening}[\s*]*([^\n]{{0,{MOST_VALUE}}}?){closing}", self._answer, re.IGNORECASE))

    def _json(self) -> dict[str, Any]:
        start = self._answer.find("{")
        if start < 0:
            raise self._error(Reason.NO_JUDGEMENT, "The reply holds no JSON object.")
        decoder = json.JSONDecoder(object_pairs_hook=_without_repeats, strict=False)
        try:
            table, end = decoder.raw_decode(self._answer[start:])
        except (ValueError, RecursionError) as error:
            reason = Reason.CONFLICTING_SCORES if isinstance(error, _RepeatedName) else Reason.TRUNCATED
            raise self._error(reason, f"The reply's JSON object cannot be read: {error}.") from error
        if "{" in self._answer[start + end :]:
            raise self._error(Reason.CONFLICTING_SCORES, "The reply holds more than one JSON object.")
        assert isinstance(table, dict)
        return table

    def _error(self, reason: Reason, message: str) -> CritiqueParseError:
        return CritiqueParseError(reason.value, message, self._raw)


class _RepeatedName(ValueError):
    """A name that stands twice in one JSON object, of which Python would keep the last."""


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise _RepeatedName("a name stands twice in it")
    return table


def _opening(profile: JudgeProfile, dimension: Dimension) -> str:
    return profile.before.replace("{title}", dimension.title)


def _bare(text: str) -> str:
    """A value without its dress: emphasis, quotes, a full stop, LaTeX's `\\text{`."""
    return squeezed(text.rpartition("{")[2].strip(_DRESS))
