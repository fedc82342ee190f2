"""Token probabilities -> `expected` and `spread` of a score.

A score such as `3.4` is written digit by digit. At its first digit the model holds a distribution
over the whole levels, at its decimal one over tenths, given the first. The branch that was taken is
known to the tenth; of the others only the level is, so they count with the middle of their range
(a mean of .45 and a variance of .083, as if tenths were equally likely; the maximum has no tenths).
"""

from __future__ import annotations

import math
import re
from typing import Final

from .backends.base import Reply, TokenChoice
from .critique import Critique
from .rubric import SCORE, Rubric, Scale

_SCORE_AT: Final = re.compile(
    rf"^[^\n]{{0,24}}?\b{SCORE}\b[^\n:：]{{0,12}}[:：]\s*[*_`]*\s*(?=\d)", re.MULTILINE | re.IGNORECASE
)
UNKNOWN_TENTHS: Final = 0.45
UNKNOWN_VARIANCE: Final = 0.0825


def score_statistics(reply: Reply, critique: Critique, rubric: Rubric) -> dict[str, tuple[float, float]]:
    """Dimension key -> (expected, spread) for every numeric score whose tokens can be found; else no entry."""
    numeric = [j.key for j in critique.judgements if j.score is not None]
    text = "".join(token.text for token in reply.tokens)
    places = [match.end() for match in _SCORE_AT.finditer(text)]
    if not reply.tokens or len(places) != len(numeric):
        return {}
    starts = _starts(reply.tokens)
    found = {}
    for key, place in zip(numeric, places, strict=True):
        statistics = _at(reply.tokens, starts, place, rubric.scale)
        if statistics is not None:
            found[key] = statistics
    return found


def _starts(tokens: tuple[TokenChoice, ...]) -> list[int]:
    starts, position = [], 0
    for token in tokens:
        starts.append(position)
        position += len(token.text)
    return starts


def _at(tokens: tuple[TokenChoice, ...], starts: list[int], place: int, scale: Scale) -> tuple[float, float] | None:
    index = next((i for i, (s, t) in enumerate(zip(starts, tokens, strict=True)) if s <= place < s + len(t.text)), None)
    if index is None:
        return None
    levels = _digits(tokens[index], int(scale.minimum), int(scale.maximum))
    chosen = tokens[index].text.strip()
    if not levels or not chosen.isdigit() or int(chosen) not in levels:
        return None
    tenths = {0: 1.0}
    if index + 2 < len(tokens) and tokens[index + 1].text.strip() == "." and scale.decimals:
        tenths = _digits(tokens[index + 2], 0, 9) or tenths
    return _moments(levels, int(chosen), tenths, scale)


def _digits(token: TokenChoice, low: int, high: int) -> dict[int, float]:
    """Distribution over the whole numbers low..high among a token's alternatives, normalised."""
    weights: dict[int, float] = {}
    for text, probability in token.alternatives:
        digit = text.strip()
        if digit.isdecimal() and low <= int(digit) <= high:
            weights[int(digit)] = weights.get(int(digit), 0.0) + probability
    total = sum(weights.values())
    return {digit: weight / total for digit, weight in weights.items()} if total > 0 else {}


def _moments(levels: dict[int, float], chosen: int, tenths: dict[int, float], scale: Scale) -> tuple[float, float]:
    def branch(level: int) -> tuple[float, float]:
        """Mean and variance of the score, given its whole part."""
        if level == int(scale.maximum) or scale.decimals == 0:
            return float(level), 0.0
        if level != chosen:
            return level + UNKNOWN_TENTHS, UNKNOWN_VARIANCE
        mean = sum(p * t for t, p in tenths.items()) / 10
        return level + mean, sum(p * (t / 10 - mean) ** 2 for t, p in tenths.items())

    parts = [(p, *branch(level)) for level, p in levels.items()]
    expected = sum(p * mean for p, mean, _ in parts)
    variance = sum(p * (v + (mean - expected) ** 2) for p, mean, v in parts)
    return expected, math.sqrt(max(0.0, variance))
