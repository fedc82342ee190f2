"""What is read from a judge's reply. A reply that does not say exactly what was asked is no score, whatever is in it."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from rationalrewards_core.errors import CritiqueParseError
from rationalrewards_core.replies.parsing import Reason

from .outputs import Scores

SCORED_LINE: Final = re.compile(
    r"[\s*_#>\-]*(?P<title>[^:：]*[^:：\s*_])[*_]*\s*[:：][\s*_]*(?P<score>\d+)(?:\s*/\s*(?P<of>\d+))?[\s*_.]*"
)
"""`Prompt Compliance: 4`, with the marks that models put around it."""
LONGEST_LINE: Final = 200
"""Characters of a line that may hold a score."""
YES_NO: Final = {"yes": True, "y": True, "true": True, "no": False, "n": False, "false": False}


def scored_lines(count: int, minimum: int, maximum: int, text: str) -> Scores:
    """Exactly `count` lines of a title, a colon and a whole number within the scale; other lines may say anything."""
    lines = [line for line in text.splitlines() if len(line) <= LONGEST_LINE]
    matches = [match for line in lines if (match := SCORED_LINE.fullmatch(line))]
    if len(matches) != count:
        raise _failure(Reason.MISSING_SCORE, f"{len(matches)} scores and not {count}", text)
    if len({match["title"].casefold() for match in matches}) != count:
        raise _failure(Reason.CONFLICTING_SCORES, "two scores under one title", text)
    if any(match["of"] not in (None, str(maximum)) for match in matches):
        raise _failure(Reason.OUT_OF_SCALE, f"a score out of another total than {maximum}", text)
    return _within(tuple(float(match["score"]) for match in matches), minimum, maximum, text)


def json_scores(count: int, minimum: float, maximum: float, text: str) -> Scores:
    """The list `score` of the one JSON object in a reply, or a reply that is such a list and nothing else."""
    bare = _json(text.strip())
    scores = bare if isinstance(bare, list) else _json_object(text).get("score")
    if not isinstance(scores, list) or len(scores) != count:
        raise _failure(Reason.MISSING_SCORE, f"no list of {count} scores", text)
    if any(isinstance(score, bool) or not isinstance(score, int | float) for score in scores):
        raise _failure(Reason.UNREADABLE_SCORE, "a score that is no number", text)
    return _within(tuple(float(score) for score in scores), minimum, maximum, text)


def tagged_marks(count: int, text: str) -> Scores:
    """The one `<score>` of a reply: a list of `count` zeros and ones."""
    texts = re.findall(r"<score>(.*?)</score>", text, re.DOTALL)
    if len(texts) != 1:
        raise _failure(Reason.MISSING_SCORE, f"{len(texts)} scores in tags", text)
    marks = _json(texts[0].strip())
    if not isinstance(marks, list) or len(marks) != count:
        raise _failure(Reason.MISSING_SCORE, f"no list of {count} marks", text)
    if any(isinstance(mark, bool) or mark not in (0, 1) for mark in marks):
        raise _failure(Reason.OUT_OF_SCALE, "a mark that is neither 0 nor 1", text)
    return tuple(float(mark) for mark in marks)


def yes_or_no(expected: bool, text: str) -> Scores:
    """1 if the `answer` of the one JSON object in a reply, or a reply of one word, is the expected one; else 0."""
    answer = as_yes_or_no(text)
    if answer is None:
        answer = as_yes_or_no(_json_object(text).get("answer"))
    if answer is None:
        raise _failure("no_choice", "neither yes nor no", text)
    return (float(answer is expected),)


def as_yes_or_no(word: Any) -> bool | None:
    """What a word of yes or no says; None for anything else."""
    return YES_NO.get(word.strip().strip("*_`\"'. \n").casefold()) if isinstance(word, str) else None


def _within(scores: Scores, minimum: float, maximum: float, text: str) -> Scores:
    if not all(minimum <= score <= maximum for score in scores):
        raise _failure(Reason.OUT_OF_SCALE, f"a score outside {minimum:g} to {maximum:g}", text)
    return scores


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _json_object(text: str) -> dict[str, Any]:
    """What stands from the first opening brace to the last closing one."""
    table = _json(text[text.find("{") : text.rfind("}") + 1])
    if not isinstance(table, dict):
        raise _failure(Reason.NO_JUDGEMENT, "no JSON object", text)
    return table


def _failure(reason: str, what: str, text: str) -> CritiqueParseError:
    if not text.strip():
        return CritiqueParseError(Reason.EMPTY.value, "The reply is empty.", text)
    code = reason.value if isinstance(reason, Reason) else reason
    return CritiqueParseError(code, f"The reply has {what}: {' '.join(text.split())[:120]!r}.", text)
