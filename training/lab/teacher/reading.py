"""The teacher as a reader: which image do notes speak for? It knows nothing but the notes' own sentences."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from rationalrewards_core.comparison import Verdict, parse_comparison, verdict_of_rewards
from rationalrewards_core.errors import CritiqueParseError
from rationalrewards_core.miniature.truth import (
    BACKGROUND_COST,
    BLOTCH_COST,
    BLUR_COST,
    COLOUR_COST,
    COUNTS,
    CROP_COST,
    DEFORM_COST,
    EXTRA_THING_COST,
    EXTRA_WORD_COST,
    KEPT_COST,
    LEVELS,
    LOST_COST,
    MISSING_COST,
    NOISE_COST,
    RELATION_COST,
    SHAPE_COST,
    SIZE_COST,
)
from rationalrewards_core.rubric import Rubric

MARGIN: Final = 0.02
"""Difference of rewards below which the notes give no reason to prefer one image."""

_LEVEL: Final = "|".join(LEVELS)
_COSTS: Final[tuple[tuple[re.Pattern[str], float | tuple[float, ...]], ...]] = tuple(
    (re.compile(pattern), cost)
    for pattern, cost in (
        (rf"It is ({_LEVEL}) blurry", BLUR_COST),
        (rf"It is ({_LEVEL}) noisy", NOISE_COST),
        (rf"It has ({'|'.join(COUNTS[1:4])}) blotch", BLOTCH_COST),
        (r"is cut off", CROP_COST),
        (r"is misshapen", DEFORM_COST),
        (r"should be (?:small|large)\b", SIZE_COST),
        (r"should be (?:red|green|blue|yellow)\b", COLOUR_COST),
        (r"should be a ", SHAPE_COST),
        (r"should be (?:left of|right of|above|below) ", RELATION_COST),
        (r"The word \"\w+\" is missing|letters are faint|still no word|was not changed|The word is gone", 3.0),
        (r"is missing", MISSING_COST),
        (r"There is an extra word|A word was added|The word was changed", EXTRA_WORD_COST),
        (r"There is an extra ", EXTRA_THING_COST),
        (r'It reads "\w*" instead of', 2.0),
        (r"is still (?:a |there)?", 3.0),
        (r", not \w+", 2.0),
        (r"is lost", LOST_COST),
        (r"The (?:shape|colour|size) of the \w+ was changed", KEPT_COST),
        (r"The layout was changed", RELATION_COST),
        (r"The background was changed", BACKGROUND_COST),
    )
)
_NOTES: Final = re.compile(r"(?:Image A: (?P<a>.*?))?\s*(?:Image B: (?P<b>.*))?$")


def predict(notes: str, rubric: Rubric, believed: tuple[Collection[str], Collection[str]] | None = None) -> Verdict:
    """The outcome the notes speak for; a tie where they speak for none.

    Whole rationales are read by their scores, as any reader would. `believed` are the sentences about A and about B
    that a reader with eyes takes for true; others are left out of account.
    """
    try:
        return parse_comparison(notes.strip(), rubric).verdict
    except CritiqueParseError:
        pass  # not a whole rationale: evidence line by line
    totals, count = [0.0, 0.0], 0
    for line in notes.splitlines():
        first, second = spoken(line)
        if not first and not second:
            continue
        count += 1
        for index, score in enumerate((first, second)):
            true = None if believed is None else believed[index]
            totals[index] += max(1.0, 4.0 - cost(score, true))
    if not count:
        return Verdict.TIE
    scale = rubric.scale
    of_a, of_b = (scale.normalise(total / count) for total in totals)
    return verdict_of_rewards(of_a, of_b, margin=MARGIN)


def borne_out(notes: str, believed: tuple[Collection[str], Collection[str]]) -> bool:
    """Whether every flaw that the notes name is one that a reader with eyes sees too."""
    claims = (spoken(line) for line in notes.splitlines())
    pairs = ((text, true) for both in claims for text, true in zip(both, believed, strict=True))
    return all(cost(text, None) == cost(text, true) for text, true in pairs)


def spoken(line: str) -> tuple[str, str]:
    """What a line says about Image A and about Image B."""
    start = line.find("Image A: ")
    match = _NOTES.match(line[start:] if start >= 0 else "")
    return ((match["a"] or "").strip(), (match["b"] or "").strip()) if match else ("", "")


def sentences(text: str) -> list[str]:
    return [part.strip() for part in re.findall(r"[^.]+\.", text)]


def cost(text: str, believed: Collection[str] | None) -> float:
    """What the flaws named in a text cost."""
    total = 0.0
    for sentence in sentences(text):
        if believed is not None and sentence not in believed:
            continue
        for pattern, price in _COSTS:
            if match := pattern.search(sentence):
                total += price if isinstance(price, float) else price[_level(match[1])]
                break
    return total


def _level(word: str) -> int:
    return LEVELS.index(word) if word in LEVELS else COUNTS.index(word) - 1
