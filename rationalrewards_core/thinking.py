"""The answer of a reply whose model thought aloud first: drafts inside a thinking block judge nothing."""

from __future__ import annotations

import re
from typing import Final

_TAG: Final = r"(?:think|thinking|thought|reasoning)>"
_OPENS: Final = re.compile(rf"<{_TAG}", re.IGNORECASE)
_CLOSES: Final = re.compile(rf"</{_TAG}", re.IGNORECASE)
_OPENS_ALONE: Final = re.compile(rf"^[^\S\n]*<{_TAG}[^\S\n]*$", re.IGNORECASE | re.MULTILINE)
_CLOSES_ALONE: Final = re.compile(rf"^[^\S\n]*</{_TAG}[^\S\n]*$", re.IGNORECASE | re.MULTILINE)


def answer_of(text: str, *, begun: bool) -> str | None:
    """What follows the last thinking block; None if the reply ends inside one.

    In a reply that has `begun` with a heading of its own, a tag counts only on a line of its own: elsewhere it is
    quoted.
    """
    closing, opening = (_CLOSES_ALONE, _OPENS_ALONE) if begun else (_CLOSES, _OPENS)
    ends = [match.end() for match in closing.finditer(text)]
    answer = text[ends[-1] :] if ends else text
    return None if opening.search(answer) else answer
