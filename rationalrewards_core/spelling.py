"""Spellings that mean the same: full-width and invisible characters, `&` for `and`, letter case."""

from __future__ import annotations

from typing import Final

_FULL_WIDTH: Final = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_INVISIBLE: Final = (0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0xFEFF)
_PLAIN: Final = _FULL_WIDTH | dict.fromkeys(_INVISIBLE, 0x20)


def plain(text: str) -> str:
    """The text with full-width characters made ASCII and invisible ones made spaces; its length stays."""
    return text if text.isascii() else text.translate(_PLAIN)


def squeezed(name: str) -> str:
    """What two spellings of one heading have in common."""
    folded = plain(name).casefold().replace("i\u0307", "i").replace("\u0131", "i")  # as `re` folds dotted and dotless i
    return " ".join(folded.replace("&", " and ").replace("judgement", "judgment").split())
