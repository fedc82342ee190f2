"""A folder of labelled pairs: `pairs.jsonl` beside `images/`, as PARROT exports and benchmark imports write it.

A line is a `PreferencePair` with two keys more: `split` (train, dev, test) and, where people rated dimensions,
`ratings` (`{"text_faithfulness": [3.0, 2.0]}` for A and B).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from rationalrewards_core.comparison import Verdict
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.jsonl import DamagedLine, Row, encoded, read_lines
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.numerals import number_pair
from rationalrewards_core.storage import check_finished, replacing

from .pairs import PreferencePair, pair_from_json
from .store import ImageStore

log = logging.getLogger("rationalrewards.training.evaluate")

PAIRS_FILE = "pairs.jsonl"


@dataclass(frozen=True)
class LabelledPair:
    """A pair with what an evaluation needs beside it."""

    pair: PreferencePair
    split: str = ""
    ratings: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Dimension key -> what people gave A and B; empty where they only chose."""

    @property
    def key(self) -> str:
        """The pair's."""
        return self.pair.key

    def to_json(self) -> dict[str, Any]:
        ratings = {key: list(scores) for key, scores in self.ratings.items()}
        return self.pair.to_json() | {"split": self.split} | ({"ratings": ratings} if ratings else {})


class PairFolder:
    """The pairs of a folder and their pictures. Pictures are read when a judge needs them."""

    def __init__(self, path: Path) -> None:
        if not (path / PAIRS_FILE).is_file():
            raise ConfigError(f"{path} is no folder of labelled pairs: it has no {PAIRS_FILE}.")
        check_finished(path, "make it again by the same command")
        self.path = path
        self._store = ImageStore(path)

    def pairs(self, split: str | None = None, limit: int | None = None) -> list[LabelledPair]:
        """Pairs of a split (None: all), in the file's order. ConfigError if there are none.

        A damaged line costs itself alone, and so does one about a pair that stands before it, with whatever preference:
        they are counted, and said as a warning.
        """
        damaged: list[DamagedLine] = []
        read = read_lines(self.path / PAIRS_FILE, _labelled, damaged.append, finished=True)
        once = _Once()
        pairs = list(islice((each for each in read if split in (None, each.split) and once.is_new(each)), limit))
        if once.again:
            log.warning("%d lines of %s ask about a pair again and are left out", once.again, self.path / PAIRS_FILE)
        if damaged:
            log.warning("%d damaged lines are left out; the first: %s", len(damaged), damaged[0])
        if not pairs:
            raise ConfigError(
                f"{self.path / PAIRS_FILE} has no pairs"
                + (f" of the split {split!r}" if split else "")
                + (f"; {len(damaged)} damaged lines are left out, the first: {damaged[0]}" if damaged else ".")
            )
        return pairs

    def request(self, pair: PreferencePair) -> UserRequest:
        """The request with its sources loaded. RequestError if a picture is missing or damaged."""
        return UserRequest(pair.request, tuple(self._store.open(reference) for reference in pair.sources))

    def candidates(self, pair: PreferencePair) -> tuple[Image.Image, Image.Image]:
        return self._store.open(pair.first), self._store.open(pair.second)


class _Once:
    """Knows which pairs were there: one that counted twice would weigh twice, or be two labels of one question."""

    def __init__(self) -> None:
        self.again = 0
        self._keys: set[str] = set()

    def is_new(self, labelled: LabelledPair) -> bool:
        new = labelled.key not in self._keys
        self._keys.add(labelled.key)
        self.again += not new
        return new


def _labelled(row: Row) -> LabelledPair:
    ratings = {key: number_pair(both) for key, both in row.get("ratings", {}).items()}
    return LabelledPair(pair_from_json(row), str(row.get("split", "")), ratings)


def with_winner(pairs: Sequence[LabelledPair], origin: str) -> list[LabelledPair]:
    """Pairs with a winner. ConfigError if there is none; `origin` names the pairs."""
    decisive = [one for one in pairs if one.pair.preference is not Verdict.TIE]
    if not decisive:
        raise ConfigError(
            f"{origin}: all {len(pairs)} pairs are ties, so there is no preference to learn or to measure; import pairs "
            "with a winner."
        )
    return decisive


def write_pairs(pairs: Iterable[LabelledPair], folder: Path) -> int:
    """Write `pairs.jsonl`; returns how many pairs it has."""
    count = 0
    with replacing(folder / PAIRS_FILE) as file:
        for labelled in pairs:
            file.write(encoded(labelled.to_json()))
            count += 1
    return count
