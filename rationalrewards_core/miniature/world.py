"""The miniature's closed world: what can be asked for, and the two ways of asking.

A `Content` is at once what a request asks for and what a picture shows; `truth` compares the two.
The same content can be asked for in a *short* request, as people type them, or a *detailed* one:

    short     a large red circle left of a small blue square with the word "OK"
    detailed  exactly one large red circle on the left and one small blue square on the right,
              the word "OK" in clear letters, sharp and clean

An attribute left out of a short request (`a circle`) is free: any colour and size will do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from ..errors import RequestError
from . import EXAMPLE

SIDE: Final = 48
"""Width and height of every picture of the world, in pixels."""

COLOURS: Final = ("red", "green", "blue", "yellow")
SHAPES: Final = ("circle", "square", "triangle")
SIZES: Final = ("small", "large")
RELATIONS: Final = ("left of", "right of", "above", "below")
LETTERS: Final = "AEGHIKLOTX"
WORDS: Final = ("OK", "HI", "GO", "TO", "HE", "AX", "OX", "IT", "LA", "EX")

OPPOSITE: Final = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
PLACES: Final = {
    "left of": ("on the left", "on the right"),
    "right of": ("on the right", "on the left"),
    "above": ("on top", "underneath"),
    "below": ("underneath", "on top"),
}
"""Relation -> where a detailed request puts the first and the second thing."""


@dataclass(frozen=True)
class Thing:
    """One coloured shape. In a request `colour` and `size` may be None: free."""

    shape: str
    colour: str | None
    size: str | None

    def __str__(self) -> str:
        return " ".join(w for w in (self.size, self.colour, self.shape) if w)


@dataclass(frozen=True)
class Content:
    """One or two things, how the first stands to the second, and an optional word."""

    things: tuple[Thing, ...]
    relation: str | None = None
    """Of things[0] to things[1]; None unless there are exactly two things."""
    word: str | None = None

    def flipped(self) -> Content:
        """The same content told from the second thing."""
        if self.relation is None:
            return self
        return replace(self, things=self.things[::-1], relation=OPPOSITE[self.relation])


def short_request(wish: Content) -> str:
    """The request as people type it."""
    text = f" {wish.relation} ".join(f"a {thing}" for thing in wish.things)
    return text + (f' with the word "{wish.word}"' if wish.word else "")


def detailed_request(wish: Content, emphasis: tuple[str, ...] = ()) -> str:
    """The request spelled out; `emphasis` repeats what must not go wrong, such as `the circle is red`."""
    if len(wish.things) == 2 and wish.relation is not None:
        first, second = PLACES[wish.relation]
        text = f"exactly one {wish.things[0]} {first} and one {wish.things[1]} {second}"
    else:
        text = f"exactly one {wish.things[0]}"
    if wish.word:
        text += f', the word "{wish.word}" in clear letters'
    return "; ".join([text + ", sharp and clean", *emphasis])


_THING = r"(?:(small|large) )?(?:(red|green|blue|yellow) )?(circle|square|triangle)"
_SHORT = re.compile(
    rf'an? {_THING}(?: (left of|right of|above|below) an? {_THING})?(?: with the word "([A-Z]{{1,4}})")?', re.IGNORECASE
)
_DETAILED = re.compile(
    rf"exactly one {_THING}(?: (on the left|on the right|on top|underneath) and one {_THING}"
    r' (?:on the left|on the right|on top|underneath))?(?:, the word "([A-Z]{1,4})" in clear letters)?'
    r", sharp and clean(?:;.*)?",
    re.IGNORECASE,
)
_RELATION_OF_PLACE = {first: relation for relation, (first, _) in PLACES.items()}


def parse_request(text: str) -> Content:
    """Read a short or detailed request; RequestError if it does not speak this world's language."""
    text = " ".join(text.split()).rstrip(".")
    match = _SHORT.fullmatch(text) or _DETAILED.fullmatch(text)
    if match is None:
        raise RequestError(
            f"The miniature only knows requests such as {EXAMPLE!r}, "
            f"with {', '.join(COLOURS)}; {', '.join(SHAPES)}; {', '.join(SIZES)}; {', '.join(RELATIONS)}."
        )
    size, colour, shape, joint, size2, colour2, shape2, word = (g and g.lower() for g in match.groups())
    things = [Thing(shape, colour, size)] + ([Thing(shape2, colour2, size2)] if shape2 else [])
    relation = _RELATION_OF_PLACE.get(joint, joint)
    return Content(tuple(things), relation, word.upper() if word else None)


def sample_wish(
    rng: np.random.Generator, *, two: float = 0.6, word: float = 0.35, omit: float = 0.0, reserved: bool = False
) -> Content:
    """A random request. `omit` is the share of colours and sizes left free.

    `reserved` chooses between the two disjoint halves of the world (see `is_reserved`): training only
    ever asks for the unreserved one, evaluation and the demo for the reserved one.
    """
    while True:
        shapes = rng.permutation(len(SHAPES))
        count = 2 if rng.random() < two else 1
        things = tuple(
            Thing(
                SHAPES[shapes[i]],
                None if rng.random() < omit else pick(rng, COLOURS),
                None if rng.random() < omit else pick(rng, SIZES),
            )
            for i in range(count)
        )
        wish = Content(
            things,
            pick(rng, RELATIONS) if count == 2 else None,
            pick(rng, WORDS) if rng.random() < word else None,
        )
        if count == 1 or is_reserved(wish) == reserved:
            return wish
        if reserved:
            two = 1.0  # few combinations are reserved; trying again must not turn two things into one


def is_reserved(wish: Content) -> bool:
    """Whether a two-thing request is held out of all training: one combination in eight, by its words alone.

    There are too few one-thing requests to hold any back; for those only seeds (pictures) are held out.
    """
    if len(wish.things) != 2:
        return False
    numbers = [
        SHAPES.index(t.shape) * 11
        + (COLOURS.index(t.colour) if t.colour else 4) * 5
        + (SIZES.index(t.size) if t.size else 2)
        for t in wish.things
    ]
    return (numbers[0] * 7 + numbers[1] * 3 + RELATIONS.index(wish.relation or "above")) % 8 == 0


def pick(rng: np.random.Generator, among: Sequence[str], *but: str | None) -> str:
    """One of `among`, none of `but`."""
    left = [value for value in among if value not in but]
    return left[int(rng.integers(len(left)))]
