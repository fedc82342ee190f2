"""Whether a text is English prose, and which of its words say something: small, transparent rules, no model."""

from __future__ import annotations

import re
import sys
import unicodedata
from pathlib import Path
from typing import Final, Literal

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Language = Literal["en", "any"]
"""`en` wants English prose; `any` asks nothing of the language."""


def _listed(name: str) -> frozenset[str]:
    lists = tomllib.loads((Path(__file__).parent / "words.toml").read_text(encoding="utf-8"))
    return frozenset(lists[name].split())


FUNCTION_WORDS: Final = _listed("function")
SAYS_NOTHING: Final = _listed("says_nothing")
"""Words of praise and of the task itself: they can be written about any image."""
LEAST_SHARE: Final = 0.15
"""Share of function words below which a text is not English prose (English has 0.35 to 0.5, German about 0.05)."""
FEWEST_WORDS: Final = 6
"""Shorter texts are not judged by their words, only by their letters."""

_WORD: Final = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")


def words(text: str) -> list[str]:
    """Lower-case words of a text, in order."""
    return _WORD.findall(text.casefold())


def is_english(text: str) -> bool:
    """Whether a text reads as English prose: Latin letters, and enough of the small words."""
    letters = [c for c in text if c.isalpha()]
    if not letters:
        return True
    latin = sum("LATIN" in unicodedata.name(c, "") for c in letters)
    if latin < 0.7 * len(letters):
        return False
    vocabulary = words(text)
    if len(vocabulary) < FEWEST_WORDS:
        return True
    return sum(w in FUNCTION_WORDS for w in vocabulary) >= LEAST_SHARE * len(vocabulary)
