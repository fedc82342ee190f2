"""Scores in JSON: `{"Text Faithfulness": {"justification": "...", "score": 3.5}, ..., "summary": "..."}` and its relatives.

A dimension goes by its title or key, as a name (`"Text Faithfulness": 3.5`) or in a table of its own (`{"dimension":
"Text Faithfulness", "score": 3.5}`). A second number of the scale beside a score, a name that stands twice, or a text
that takes the score back makes it unreadable or contradicts it. What is no whole JSON value is nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from ..rubric import ANALYSIS, COMMENTS, REFINED, SUMMARY, Dimension, Rubric
from ..spelling import squeezed
from .corrections import differs, numbers_of_a_correction
from .score_sheet import Claim
from .score_text import Reason, ScoreText, names_another_scale, read_score

MOST_VALUES: Final = 20
"""So many values are looked for in one reply: a long reply of nothing but brackets ends there."""
_BEGINS: Final = re.compile(r"^[^\S\n]*(?:```\w{0,20}[^\S\n]*)?(?=[{\[])", re.MULTILINE)
_SCORE_LIKE: Final = re.compile(r"\W*(?:\d|n/?a\b|n\.a|not applicable)", re.IGNORECASE)
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SCORES: Final = frozenset({"score", "rating"})
_TITLES: Final = frozenset({"dimension", "name", "title", "key", "category", "criterion", "heading"})
_WORDS: Final = (
    "justification",
    "reasoning",
    "reason",
    "rationale",
    "explanation",
    "evidence",
    "analysis",
    "critique",
    "feedback",
    "comment",
    "comments",
)
_HIGHEST: Final = frozenset({"max", "maximum", "max score", "maximum score", "out of", "scale max", "max rating"})
_LOWEST: Final = frozenset({"min", "minimum", "min score", "minimum score", "scale min"})
_SCALES: Final = frozenset({"scale", "score range", "range", "score scale", "rating scale"})
_OTHER_NUMBERS: Final = _HIGHEST | _LOWEST | _SCALES | {"weight", "confidence", "index", "id", "number"}
_SECTIONS: Final = {
    ANALYSIS: ("user request analysis", "analysis"),
    SUMMARY: ("summary", "overall summary"),
    COMMENTS: ("refinement comments", "comments"),
    REFINED: ("refined request", "refined prompt", "refined user request"),
}


class _Pairs(list[tuple[str, object]]):
    """An object with every one of its names: Python's would keep the last of two."""


class _Numeral(str):
    """A number as it is written."""


@dataclass
class JsonReply:
    """What JSON values of a reply say."""

    claims: list[Claim] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    """Sections, by heading."""
    rest: str = ""
    """What stands around the values."""


def read_json(text: str, rubric: Rubric) -> JsonReply | None:
    """What the JSON values of a reply say; None if none of them judges a dimension."""
    reply, place, names = JsonReply(), 0, _names(rubric)
    for value, start, end in _values(text):
        claims = list(_claims(value, rubric, names))
        if claims:
            if _has_another_scale(value, rubric):
                claims = [replace(claim, score=ScoreText(problem=Reason.OUT_OF_SCALE)) for claim in claims]
            reply.claims += claims
            reply.texts = {**_texts(value), **reply.texts}
            reply.rest += text[place:start]
            place = end
    reply.rest += text[place:]
    return reply if reply.claims else None


def _values(text: str) -> Iterator[tuple[object, int, int]]:
    decoder = json.JSONDecoder(
        object_pairs_hook=_Pairs, parse_int=_Numeral, parse_float=_Numeral, parse_constant=_Numeral, strict=False
    )
    place = 0
    for _ in range(MOST_VALUES):
        begins = _BEGINS.search(text, place)
        if begins is None:
            return
        try:
            value, place = decoder.raw_decode(text, begins.end())
            yield value, begins.end(), place
        except (ValueError, RecursionError):
            place = begins.end() + 1


def _name(name: str) -> str:
    bare = re.sub(r"^\s*\(?\d{1,2}[.):]\s*", "", _CAMEL.sub(" ", name))
    return squeezed(re.sub(r"[_\s-]+", " ", bare.strip("*_` :")))


def _names(rubric: Rubric) -> dict[str, Dimension]:
    """Dimensions by title and key; a name that two of them have is nobody's."""
    names: dict[str, set[str]] = {}
    for dimension in rubric.dimensions:
        for name in (dimension.title, dimension.key):
            names.setdefault(_name(name), set()).add(dimension.key)
    return {name: rubric.dimension(*keys) for name, keys in names.items() if len(keys) == 1}


def _claims(value: object, rubric: Rubric, names: dict[str, Dimension]) -> Iterator[Claim]:
    if isinstance(value, _Pairs):
        own = [inner for key, inner in value if _name(key) in _TITLES and isinstance(inner, str)]
        dimension = names.get(_name(own[0])) if len(own) == 1 else None
        if dimension is not None:
            yield from _claim(dimension, value, rubric)
            return
        for key, inner in value:
            dimension = names.get(_name(key))
            if dimension is not None:
                yield from _claim(dimension, inner, rubric)
            else:
                yield from _claims(inner, rubric, names)
    elif isinstance(value, list):
        for inner in value:
            yield from _claims(inner, rubric, names)


def _claim(dimension: Dimension, value: object, rubric: Rubric) -> Iterator[Claim]:
    """The score that a value gives to a dimension; none if it is words about it."""
    if not isinstance(value, _Pairs):
        words = isinstance(value, str) and not isinstance(value, _Numeral) and not _SCORE_LIKE.match(value)
        if not words and value is not None:
            yield Claim(dimension, _score(value, rubric))
        return
    scores = [inner for key, inner in value if _name(key) in _SCORES]
    if not scores or scores == [None]:
        return
    words_of = {
        _name(key): inner.strip() for key, inner in value if isinstance(inner, str) and not isinstance(inner, _Numeral)
    }
    justification = next((words_of[name] for name in _WORDS if name in words_of), "")
    score = _score(scores[0], rubric)
    if len(scores) > 1 or _has_another_number(value, score, rubric):
        score = ScoreText(problem=Reason.UNREADABLE_SCORE)
    yield Claim(dimension, score, justification)


def _score(value: object, rubric: Rubric) -> ScoreText:
    return read_score(value, rubric) if isinstance(value, str) else ScoreText(problem=Reason.UNREADABLE_SCORE)


def _has_another_number(value: _Pairs, score: ScoreText, rubric: Rubric) -> bool:
    """Whether something beside the score is another number of the scale, or a text that names another."""
    for key, inner in value:
        name = _name(key)
        if name in _SCORES or name in _OTHER_NUMBERS or name in _TITLES:
            continue
        for text in _strings(inner):
            other = read_score(text, rubric, alone=True)
            numbers = numbers_of_a_correction(text, rubric.scale, near=False)
            if (other.problem is None and other != score) or (numbers and differs(numbers, (score.value,))):
                return True
    return False


def _has_another_scale(value: object, rubric: Rubric) -> bool:
    """Whether a value says somewhere that its scores run from other numbers: `"max_score": 5`, `"scale": "1-10"`."""
    if isinstance(value, _Pairs):
        for key, inner in value:
            name, words = _name(key), " - ".join(_strings(inner))
            if name in _HIGHEST and names_another_scale(f"/{words}", rubric.scale):
                return True
            if name in _LOWEST and names_another_scale(f"{words}-{rubric.scale.maximum:g}", rubric.scale):
                return True
            if name in _SCALES and names_another_scale(words, rubric.scale):
                return True
    inside = [inner for _, inner in value] if isinstance(value, _Pairs) else value
    return isinstance(inside, list) and any(_has_another_scale(inner, rubric) for inner in inside)


def _strings(value: object) -> Iterator[str]:
    """Every text and number in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, _Pairs):
        for _, inner in value:
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _texts(value: object) -> dict[str, str]:
    """The sections of a reply, wherever they stand in its first object."""
    if not isinstance(value, _Pairs):
        return {}
    texts: dict[str, str] = {}
    for key, inner in value:
        if isinstance(inner, _Pairs) and _name(key) in ("user request refinement", "refinement"):
            texts |= _texts(inner)
        for section, names in _SECTIONS.items():
            if _name(key) in names and isinstance(inner, str):
                texts.setdefault(section, inner.strip())
    return texts
