"""The answer of a reply whose model thought aloud first: drafts inside a thinking block judge nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_NAME: Final = r"(?:think|thinking|thought|reasoning)"
_OPEN: Final = rf"(?:<{_NAME}>|◁{_NAME}▷|\[{_NAME}\])"
_CLOSE: Final = rf"(?:</{_NAME}>|◁/{_NAME}▷|\[/{_NAME}\])"
"""Most models', Kimi's and Mistral's."""
_OPENS: Final = re.compile(_OPEN, re.IGNORECASE)
_CLOSES: Final = re.compile(_CLOSE, re.IGNORECASE)
_OPENS_ALONE: Final = re.compile(rf"^[^\S\n]*{_OPEN}[^\S\n]*$", re.IGNORECASE | re.MULTILINE)
_CLOSES_ALONE: Final = re.compile(rf"^[^\S\n]*{_CLOSE}[^\S\n]*$", re.IGNORECASE | re.MULTILINE)
_BEGUN: Final = re.compile(r"<think>\s*\Z")
MOST_BLOCKS: Final = 20
"""A reply that begins more of them never comes to its answer."""


def answer_of(text: str, preamble_of: Callable[[str], str]) -> str | None:
    """What follows the thinking blocks; None if the reply ends inside one.

    `preamble_of` gives what stands before a text's first heading. A tag there is a block's; after it a tag counts
    only on a line of its own: elsewhere it is quoted.
    """
    for _ in range(MOST_BLOCKS):
        preamble = preamble_of(text)
        opened, closed = _OPENS.search(preamble), _CLOSES.search(preamble)
        if opened is None and closed is None:
            break
        end = closed or (_CLOSES.search(text, opened.end()) if opened else None)
        if end is None:
            return None
        text = text[end.end() :]
    else:
        return None
    ends = [match.end() for match in _CLOSES_ALONE.finditer(text)]
    answer = text[ends[-1] :] if ends else text
    return None if _OPENS_ALONE.search(answer) else answer


def thinks_aloud(text: str) -> bool:
    """Whether a text begins with thoughts or holds the end of some; the template may have begun them in the prompt."""
    return _OPENS.match(text.lstrip()) is not None or _CLOSES.search(text) is not None


def after_thoughts(text: str) -> int:
    """Where the answer may begin: behind the last end of thoughts; the length of a text that ends inside them."""
    ends = [match.end() for match in _CLOSES.finditer(text)]
    if ends:
        return ends[-1]
    return len(text) if _OPENS.match(text.lstrip()) else 0


def thoughts_closed(prompt: str) -> str:
    """A prompt whose template has already begun the reply's thoughts, with them ended: the answer comes next.

    So do the templates themselves (Qwen3.5, GLM) when they are told not to think; those of models that always think
    (Qwen3-VL-Thinking) know no such switch.
    """
    begun = _BEGUN.search(prompt)
    return prompt if begun is None else prompt[: begun.start()] + "<think>\n\n</think>\n\n"
