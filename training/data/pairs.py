"""`PreferencePair`: what people preferred, as one line of JSON, and the files of a run that hold such lines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from rationalrewards_core.comparison import Verdict
from rationalrewards_core.jsonl import read_lines
from rationalrewards_core.numerals import finite_number
from rationalrewards_core.rubric import Kind

_written: Final = json.JSONEncoder(ensure_ascii=False).encode
"""`json.dumps` would build this encoder again for every pair."""
KEY_CHARACTERS: Final = 16
"""Hexadecimal characters of a key: 64 bits, so that two of a million pairs share one about never."""


@dataclass(frozen=True, kw_only=True)
class PreferencePair:
    """Two candidates for one request, and which of them people preferred."""

    request: str
    """What was asked for, word for word."""
    first: str
    """Image reference of candidate A (see `ImageStore`)."""
    second: str
    """Image reference of candidate B."""
    preference: Verdict
    """A, B or TIE; "both bad" is a tie."""
    sources: tuple[str, ...] = ()
    """Image references of the source images of an edit; empty for a generation."""
    origin: str
    """The data set it came from, such as `TIGER-Lab/EditReward-Data`."""
    row: str = ""
    """Which row of the data set."""
    licence: str = ""
    """What the data set says about its use."""
    strength: float | None = None
    """How clear the preference was, 0 to 1, in the data set's own terms; None if it does not say."""
    models: tuple[str, str] | None = None
    """What made candidate A and candidate B."""

    @cached_property
    def key(self) -> str:
        """Content address of the question; the label is no part of it."""
        return digest([self.request, self.sources, self.first, self.second])

    @property
    def request_id(self) -> str:
        """Content address of request and source images: what a group of candidates shares."""
        return digest([self.request, self.sources])

    @property
    def kind(self) -> Kind:
        return "edit" if self.sources else "generation"

    @property
    def swapped(self) -> PreferencePair:
        """The same preference with the candidates in the other order."""
        return replace(
            self,
            first=self.second,
            second=self.first,
            preference=self.preference.swapped,
            models=None if self.models is None else (self.models[1], self.models[0]),
        )

    def shuffled(self) -> PreferencePair:
        """This pair or its swap, decided by its content: afterwards the place of the winner says nothing."""
        low, high = sorted((self, self.swapped), key=lambda pair: pair.key)
        return low if int(digest(["side", low.key])[:8], 16) % 2 else high

    @property
    def images(self) -> tuple[str, ...]:
        return (*self.sources, self.first, self.second)

    def to_json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "request": self.request,
            "sources": list(self.sources),
            "first": self.first,
            "second": self.second,
            "preference": self.preference.value,
            "origin": self.origin,
            "row": self.row,
            "licence": self.licence,
            "strength": self.strength,
            "models": None if self.models is None else list(self.models),
        }


def pair_from_json(table: Mapping[str, Any]) -> PreferencePair:
    """The inverse of `PreferencePair.to_json`; a missing field is a KeyError, keys of others are ignored.

    ValueError for values that are not what they should be.
    """
    models, sources = table["models"], table["sources"]
    names = [table["request"], table["first"], table["second"], *sources]
    if not isinstance(sources, list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError("its request and its images must be texts, its sources a list of texts")
    if table["strength"] is not None and finite_number(table["strength"]) is None:
        raise ValueError(f"its strength {table['strength']!r:.40} is no number")
    return PreferencePair(
        request=table["request"],
        first=table["first"],
        second=table["second"],
        preference=Verdict(table["preference"]),
        sources=tuple(sources),
        origin=table["origin"],
        row=table["row"],
        licence=table["licence"],
        strength=table["strength"],
        models=None if models is None else (models[0], models[1]),
    )


def digest(content: object) -> str:
    """Content address of anything JSON can write."""
    return hashlib.sha256(_written(content).encode("utf-8", "replace")).hexdigest()[:KEY_CHARACTERS]


def read_pairs(files: Sequence[Path]) -> Iterator[PreferencePair]:
    """Every pair of the files, one at a time. DamagedLine if one cannot be read."""
    for path in files:
        yield from read_lines(path, pair_from_json, finished=True)
