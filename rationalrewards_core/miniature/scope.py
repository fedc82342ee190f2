"""What the miniature can judge and draw: requests in the few words of its world. Everything else is said, not scored.

A request is taken by its words and not by the two exact forms of `world.parse_request`: `red circle, sharp` is
understood, though no form has it. A number for `a photo of a cat` would be about nothing.
"""

from __future__ import annotations

import re
from typing import Final

from ..errors import OutOfScopeError
from ..messages import UserRequest
from . import EXAMPLE
from .world import COLOURS, PLACES, RELATIONS, SHAPES, SIZES

JUDGES: Final = {
    "generation": "https://huggingface.co/TIGER-Lab/RationalRewards-8B-T2I",
    "edit": "https://huggingface.co/TIGER-Lab/RationalRewards-8B-Edit",
}
"""Where the judge of everything else is."""
EDIT_EXAMPLE: Final = "make the circle green"

_PLACES = {
    word for phrase in (*RELATIONS, *(place for pair in PLACES.values() for place in pair)) for word in phrase.split()
}
_EDITS = {"make", "turn", "remove", "write", "change", "keep"}
# fmt: off
_GLUE = {
    "a", "an", "the", "one", "two", "exactly", "only", "and", "with", "in", "into", "on", "to", "of", "is", "are",
    "it", "as", "there", "no", "not", "nothing", "everything", "else", "word", "text", "reads", "letters", "shape",
    "shapes", "background", "layout", "colour", "color", "size", "clear", "sharp", "clean", "whole", "bold", "edges",
    "faint", "noise", "blur", "blurry", "noisy",
}
# fmt: on
VOCABULARY: Final = frozenset({*COLOURS, *SHAPES, *SIZES, *_PLACES, *_EDITS, *_GLUE})
"""Lower-case words that mean something here: those of the requests, and of what the judge itself writes."""

_QUOTED = re.compile(r'["“”]([A-Za-z]{1,4})["“”]')
"""A word that is to be written: the world's own have up to four letters."""
_WORD = re.compile(r"[^\W_]+")
_SEVERAL: Final = 3
"""Unknown words that a message names."""


def strange_words(text: str) -> list[str]:
    """The words of `text` that the miniature does not know, each once, in their order."""
    return list(dict.fromkeys(word for word in _words(text) if word.casefold() not in VOCABULARY))


def names_a_shape(text: str) -> bool:
    """Whether there is anything in `text` that the miniature could draw."""
    return any(word.casefold() in SHAPES for word in _words(text))


def check_judgeable(request: UserRequest) -> None:
    """OutOfScopeError, with where the real judge comes from, unless the request is one of this world."""
    kind = "edit" if request.sources else "generation"
    strange = strange_words(request.text)
    about = names_a_shape(request.text) or "word" in map(str.casefold, _words(request.text))
    if about and not strange:
        return
    example = EDIT_EXAMPLE if request.sources else EXAMPLE
    raise OutOfScopeError(
        f"The miniature judges only drawings of its own shapes, asked for in words such as {example!r}"
        f"{_not_known(strange)}; for everything else choose the engine local with the 8B judge from {JUDGES[kind]}."
    )


def check_drawable(text: str) -> None:
    """OutOfScopeError for a prompt that names no shape of this world; other words beside a shape draw nothing."""
    if not names_a_shape(text):
        raise OutOfScopeError(
            f"The miniature draws only circles, squares and triangles, asked for in words such as {EXAMPLE!r}"
            f"{_not_known(strange_words(text))}; for everything else use a generator of your own, such as a KSampler."
        )


def _words(text: str) -> list[str]:
    return _WORD.findall(_QUOTED.sub(" word ", text))


def _not_known(strange: list[str]) -> str:
    if not strange:
        return ""
    more = ", ..." if len(strange) > _SEVERAL else ""
    return f", and does not know {', '.join(repr(word[:40]) for word in strange[:_SEVERAL])}{more}"
