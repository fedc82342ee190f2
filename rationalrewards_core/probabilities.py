"""Token probabilities -> `expected` and `spread` of a score, on any scale of a rubric.

A score such as `3.4` is written token by token. At each of them the model also held other tokens; every one
that goes on to a number of the scale is a branch. A branch that ends in a number counts with it. Of a branch
that was not taken only the beginning is known: it counts with the mean and variance of the scale's numbers that
begin so, as if they were equally likely (`2` on a scale of tenths: 2.45 and 0.0825; `4` of 1 to 4: exactly 4).
So the statistics are exact for scores of one token or one level, and good to the next digit otherwise.

Probabilities count only where the tokens spell the reply and where it is certain which dimension a score is of.
What they tell is how sure the model was of the digits, once it had written its justification.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Final

from .backends.base import Reply, TokenChoice
from .critique import Critique
from .headings import Headings
from .replies.score_text import MINUS
from .reply_layout import reply_headings
from .rubric import Rubric, Scale

_NUMBER: Final = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?")
_BEGUN: Final = re.compile(r"[+-]?[0-9]*[.,]?[0-9]*")
_CONTINUED: Final = re.compile(r"[0-9]*[.,]?[0-9]*")
_DRESS: Final = re.compile(r"[\s*_`(\[]*")


def score_statistics(reply: Reply, critique: Critique, rubric: Rubric) -> dict[str, tuple[float, float]]:
    """Dimension key -> (expected, spread) for every score whose tokens are certain and have alternatives; else no entry.

    Both are in units of the scale. Tokens away from the scores need no alternatives.
    """
    spelled = _ascii("".join(token.text for token in reply.tokens))
    text = _ascii(reply.text).strip()
    start = _start(spelled, text)
    if not reply.tokens or not text or start is None:
        return {}
    places = _places(text, rubric)
    statistics = {}
    for judgement in critique.judgements:
        at = places.get(judgement.key, [])
        if judgement.score is None or len(at) != 1 or at[0][1] != judgement.score:
            continue
        if not _whole(spelled, start + at[0][0], text[at[0][0] :]):
            continue
        position = _at(reply.tokens, start + at[0][0], rubric.scale)
        if position is not None:
            statistics[judgement.key] = position
    return statistics


def _ascii(text: str) -> str:
    """Without what is not ASCII: a token can hold half a character, but never half a digit. A minus is one sign."""
    return text.replace(MINUS, "-").encode("ascii", "ignore").decode("ascii")


def _start(spelled: str, text: str) -> int | None:
    """Where the reply begins in what its tokens spell; None if they spell something else.

    Tokens may be missing at the end: llama.cpp leaves out as many as a stop text that it cut off has.
    """
    start = spelled.rfind(text)
    if start >= 0:
        return start
    begun = spelled.lstrip()
    return len(spelled) - len(begun) if begun and text.startswith(begun) else None


def _whole(spelled: str, place: int, rest: str) -> bool:
    """Whether the number with which `rest` of the reply begins is spelled to its end, and what follows it if anything does."""
    number = _NUMBER.match(rest)
    end = number.end() if number else 0
    return len(spelled) - place > end or (len(spelled) - place == end == len(rest))


def _places(text: str, rubric: Rubric) -> dict[str, list[tuple[int, float]]]:
    """Dimension key -> (position, value) of every number that stands in its `Score` line or right after its title."""
    keys = {dimension.title: dimension.key for dimension in rubric.dimensions}
    headings = Headings([*keys, *reply_headings(rubric).scores])
    places: dict[str, list[tuple[int, float]]] = {}
    current: str | None = None
    position = 0
    for line in text.splitlines(keepends=True):
        heading = headings.match(line.strip())
        if heading is not None and heading.name:
            current = keys.get(heading.name, current)
            at = position + line.rindex(heading.rest) if heading.rest else 0
            dress = _DRESS.match(heading.rest)
            skipped = dress.end() if dress else 0
            number = _NUMBER.match(heading.rest, skipped)
            if current is not None and number is not None:
                value = float(number[0].replace(",", "."))
                places.setdefault(current, []).append((at + skipped, value))
        position += len(line)
    return places


def _at(tokens: tuple[TokenChoice, ...], place: int, scale: Scale) -> tuple[float, float] | None:
    """(expected, spread) of the number that begins at a position of the tokens' ASCII text."""
    index, start = 0, 0
    while start + len(_ascii(tokens[index].text)) <= place:
        start += len(_ascii(tokens[index].text))
        index += 1
    lead, prefix, reached = _ascii(tokens[index].text)[: place - start], "", 1.0
    branches: list[tuple[float, float, float]] = []
    while index < len(tokens):
        token = tokens[index]
        longer, ended = _further(prefix, _ascii(token.text)[len(lead) :])
        ways = _ways(token, lead, prefix, scale)
        if (longer, ended) not in ways and (ways or not prefix):
            return None  # the alternatives are none of this text's
        if ways:
            total = sum(ways.values())
            branches += [
                (reached * p / total, *_moments(text, whole, scale))
                for (text, whole), p in ways.items()
                if (text, whole) != (longer, ended)
            ]
            reached *= ways[longer, ended] / total
        prefix, lead = longer, ""
        if ended:
            break
        index += 1
    branches.append((reached, float(prefix.rstrip(".")), 0.0))
    weight = sum(p for p, _, _ in branches)
    if weight <= 0.0:
        return None
    expected = sum(p * mean for p, mean, _ in branches) / weight
    variance = sum(p * (v + (mean - expected) ** 2) for p, mean, v in branches) / weight
    return expected, math.sqrt(max(0.0, variance))


def _further(number: str, text: str) -> tuple[str, bool]:
    """The number as far as it is written after one more token, and whether it ends inside or before that token."""
    begun = _CONTINUED.match(text) if number else _BEGUN.match(text.lstrip())
    body = text if number else text.lstrip()
    more = begun[0].replace(",", ".") if begun else ""
    return number + more, len(more) < len(body) or not more


def _ways(token: TokenChoice, lead: str, number: str, scale: Scale) -> dict[tuple[str, bool], float]:
    """(number so far, ended) -> probability, of every alternative with which a number of the scale can be written."""
    ways: dict[tuple[str, bool], float] = {}
    for text, probability in token.alternatives:
        if not probability > 0.0:  # some servers list what a grammar forbids, too
            continue
        body = _ascii(text)
        if lead.strip() and not body.startswith(lead):
            continue
        way = _further(number, body[len(lead) :] if lead.strip() else body.lstrip() if not number else body)
        if way[0] and _fits(*way, scale):
            ways[way] = ways.get(way, 0.0) + probability
    return ways


def _fits(text: str, ended: bool, scale: Scale) -> bool:
    if ended:
        return _NUMBER.fullmatch(text.rstrip(".")) is not None and scale.contains(float(text.rstrip(".")))
    return _beginning(text, scale) is not None


def _moments(text: str, ended: bool, scale: Scale) -> tuple[float, float]:
    """Mean and variance of a number that begins so."""
    number = None if ended else _beginning(text, scale)
    return number or (float(text.rstrip(".")), 0.0)


@lru_cache(maxsize=4096)
def _beginning(text: str, scale: Scale) -> tuple[float, float] | None:
    """Mean and variance of the scale's numbers that are written with this beginning; None if there is none."""
    unit = 10**scale.decimals
    steps = range(round(scale.minimum * unit), round(scale.maximum * unit) + 1)
    if text.startswith("+"):
        steps = range(max(0, steps.start), steps.stop)
    numbers = [step / unit for step in steps if scale.format(step / unit).startswith(text.lstrip("+"))]
    if not numbers:
        return None
    mean = sum(numbers) / len(numbers)
    return mean, sum((number - mean) ** 2 for number in numbers) / len(numbers)
