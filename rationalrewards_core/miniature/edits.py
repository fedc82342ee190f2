"""Edit requests of the miniature world: what may be asked of a source picture, and what should come out."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from ..errors import RequestError
from .world import COLOURS, SHAPES, SIZES, WORDS, Content, Thing, pick

EditKind = Literal["recolour", "resize", "reshape", "remove", "write", "rewrite"]
KINDS: Final[tuple[EditKind, ...]] = ("recolour", "resize", "reshape", "remove", "write", "rewrite")


@dataclass(frozen=True)
class Edit:
    """One change to one thing of the source, named by its shape, or to its word."""

    kind: EditKind
    shape: str | None = None
    """Shape of the thing to change; None for `write` and `rewrite`."""
    value: str | None = None
    """The new colour, size, shape or word; None for `remove`."""

    @property
    def asks_for_text(self) -> bool:
        return self.kind in ("write", "rewrite")

    def __str__(self) -> str:
        match self.kind:
            case "recolour" | "resize":
                return f"make the {self.shape} {self.value}"
            case "reshape":
                return f"turn the {self.shape} into a {self.value}"
            case "remove":
                return f"remove the {self.shape}"
            case "write":
                return f'write the word "{self.value}"'
            case _:
                return f'change the word to "{self.value}"'


_FORMS: Final = (
    (re.compile(rf"make the ({'|'.join(SHAPES)}) ({'|'.join(COLOURS)})"), "recolour"),
    (re.compile(rf"make the ({'|'.join(SHAPES)}) ({'|'.join(SIZES)})"), "resize"),
    (re.compile(rf"turn the ({'|'.join(SHAPES)}) into a ({'|'.join(SHAPES)})"), "reshape"),
    (re.compile(rf"remove the ({'|'.join(SHAPES)})()"), "remove"),
    (re.compile(r'write the word ()"([A-Z]{1,4})"'), "write"),
    (re.compile(r'change the word to ()"([A-Z]{1,4})"'), "rewrite"),
)


def parse_edit(text: str) -> Edit:
    """Read an edit request; RequestError if it does not speak this world's language."""
    for form, kind in _FORMS:
        if match := form.match(" ".join(text.split())):
            shape, value = (group or None for group in match.groups())
            return Edit(kind, shape, value)  # type: ignore[arg-type]
    raise RequestError(
        "The miniature only knows edits such as 'make the circle green', 'make the square large', "
        "'turn the circle into a triangle', 'remove the square', 'write the word \"OK\"', 'change the word to \"GO\"'."
    )


def target(edit: Edit, source: Content) -> int:
    """Index of the thing to change."""
    for index, thing in enumerate(source.things):
        if thing.shape == edit.shape:
            return index
    raise RequestError(f"The source picture has no {edit.shape}.")


def apply_edit(edit: Edit, source: Content) -> Content:
    """What the edited picture should show."""
    if edit.asks_for_text:
        return replace(source, word=edit.value)
    index = target(edit, source)
    things = list(source.things)
    if edit.kind == "remove":
        del things[index]
        return replace(source, things=tuple(things), relation=None)
    old = things[index]
    match edit.kind:
        case "recolour":
            things[index] = replace(old, colour=edit.value)
        case "resize":
            things[index] = replace(old, size=edit.value)
        case _:
            things[index] = Thing(str(edit.value), old.colour, old.size)
    return replace(source, things=tuple(things))


def sample_edit(rng: np.random.Generator, source: Content) -> Edit:
    """A random edit that changes something in `source` and keeps its shapes distinct."""
    kinds: list[EditKind] = ["recolour", "resize", "reshape", "rewrite" if source.word else "write"]
    if len(source.things) > 1:
        kinds.append("remove")
    kind = kinds[rng.integers(len(kinds))]
    if kind in ("write", "rewrite"):
        return Edit(kind, value=pick(rng, WORDS, source.word))
    thing = source.things[rng.integers(len(source.things))]
    match kind:
        case "recolour":
            return Edit(kind, thing.shape, pick(rng, COLOURS, thing.colour))
        case "resize":
            return Edit(kind, thing.shape, pick(rng, SIZES, thing.size))
        case "reshape":
            return Edit(kind, thing.shape, pick(rng, SHAPES, *(t.shape for t in source.things)))
        case _:
            return Edit(kind, thing.shape)
