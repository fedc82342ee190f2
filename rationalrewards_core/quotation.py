"""Quotation marks of the scripts that prompts are written in: the one table for everything that looks for quoted text.

Some marks are also something else: `'` and `’` are apostrophes, `"` and `'` measure inches and feet, and `“` opens in
English and closes in German. They quote only where they stand as a typesetter would set them: the first not behind a
letter or digit, the last not before one, and no space just inside.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MARKS: Final[tuple[tuple[str, str], ...]] = (
    ("“", "”"),
    ("„", "“”"),
    ("«", "»"),
    ("‹", "›"),
    ("「", "」"),
    ("『", "』"),
    ("｢", "｣"),
    ("《", "》"),
    ("〈", "〉"),
    ("〝", "〞〟"),
    ('"', '"'),
    ("„", '"'),
    ("”", "”"),
    ("»", "«"),
    ("›", "‹"),
    ("'", "'"),
    ("‘", "’"),
    ("‚", "‘’"),
    ("`", "`"),
    ("＂", "＂"),
    ("＇", "＇"),
)
"""(opening mark, marks that close it); of two rows with one opening mark the first that fits counts."""
_PLAIN_PAIRS: Final = 10
"""So many rows hold marks that only ever quote; the others have to stand in the right place."""
MOST_CHARACTERS: Final = 200
"""A longer text between two marks is no quotation: the marks do not belong together."""
LETTER: Final = r"[^\W_\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uff66-\uff9f]"
"""A letter or digit of the scripts that put spaces between words, as a pattern: in the others marks touch words."""


def _pattern(opening: str, closing: str, plain: bool) -> str:
    first, last = re.escape(opening), f"[{re.escape(closing)}]"
    inner = rf"[^{re.escape(opening + closing)}\n]|\n(?![^\S\n]*\n)"
    if plain:
        return rf"{first}(?:{inner}){{1,{MOST_CHARACTERS}}}{last}"
    if set(closing) & set("'’"):
        inner += rf"|(?<={LETTER})['’](?={LETTER})"
        first += "(?!n['’])"  # rock 'n' roll
    return rf"(?<!{LETTER}){first}(?!\s)(?:{inner}){{1,{MOST_CHARACTERS}}}(?<!\s){last}(?!{LETTER})"


QUOTED: Final = re.compile("|".join(_pattern(*pair, row < _PLAIN_PAIRS) for row, pair in enumerate(MARKS)))
"""A quotation with its marks."""
INCHES: Final = '"'
APOSTROPHES: Final = frozenset("'’")
STRAY: Final = frozenset("".join(opening + closing for opening, closing in MARKS)) - APOSTROPHES
"""Marks that say nothing where they stand alone; an apostrophe does."""


@dataclass(frozen=True)
class Quotation:
    """Characters start..end of a text, marks included."""

    start: int
    end: int
    words: str
    """What stands between the marks, with single spaces."""


def quotations(text: str) -> list[Quotation]:
    """Every quotation of `text`, in order; none overlaps another. Linear in the text's length."""
    return [Quotation(*match.span(), quoted_words(match.group())) for match in QUOTED.finditer(text)]


def quoted_words(quotation: str) -> str:
    """A quotation without its marks."""
    return " ".join(quotation[1:-1].split())


def unquoted(text: str) -> str:
    """`text` without quotation marks around the whole of it, however long it is."""
    inner = text[1:-1]
    for opening, closing in MARKS:
        if inner.strip() and text[0] == opening and text[-1] in closing and not set(inner) & set(opening + closing):
            return inner.strip()
    return text
