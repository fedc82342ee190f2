"""What importers share: pictures taken in, rows left out and why, pairs written once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from rationalrewards_core.errors import ConfigError, RequestError
from rationalrewards_core.jsonl import encoded
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.numerals import finite_number
from rationalrewards_core.storage import replacing

from ...left_out import LeftOut
from ..pairs import PreferencePair, digest
from ..store import ImageRoots, ImageStore
from .labels import Labels
from .tables import DamagedRow, Row, place_of

T = TypeVar("T")
Keep = Literal["copy", "reference"]
"""Copies of the pictures in the run's folder, or references to where they are (pictures inside rows are copied)."""


class Skip(Exception):
    """A row gives no pair; the reason is counted, and the first `value` of it is shown."""

    def __init__(self, reason: str, value: Any = None) -> None:
        super().__init__(reason)
        self.reason, self.value = reason, value


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One data set that can be imported."""

    name: str
    """What the user types."""
    origin: str
    licence: str
    required: tuple[str, ...]
    """Columns without which a table is not this data set."""
    pairs: Callable[[Iterator[Row], Intake], Iterator[PreferencePair]] = field(repr=False)

    def check(self, columns: Iterable[str], where: str) -> None:
        """ConfigError, in one sentence, if columns are missing."""
        check_columns(self.name, self.required, columns, where)


def check_columns(name: str, required: Iterable[str], columns: Iterable[str], where: str) -> None:
    """ConfigError, in one sentence, if a table of `name` lacks a column."""
    names = set(columns)
    missing = [column for column in required if column not in names]
    if missing:
        has = ", ".join(sorted(names)[:12]) or "none"
        raise ConfigError(f"{where} is not {name}: it lacks the column {missing[0]!r} (it has {has}).")


class Intake:
    """Takes pictures into a run and counts what is left out."""

    def __init__(
        self, store: ImageStore, roots: ImageRoots, keep: Keep = "copy", labels: Labels = Labels.WORDS
    ) -> None:
        self._store, self._roots, self._keep, self.labels = store, roots, keep, labels
        self._left = LeftOut()
        self.skipped = self._left.counts

    def each(self, rows: Iterable[Row], convert: Callable[[Row], T]) -> Iterator[T]:
        """One pair per row; rows that give none are counted."""
        for row in rows:
            try:
                if isinstance(row, DamagedRow):
                    raise Skip(row.why)
                converted = convert(row)
            except Skip as skip:
                self.leave_out(skip, row)
            except KeyError as missing:
                self.leave_out(Skip(f"no column {missing.args[0]}"), row)
            except (TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
                self.leave_out(Skip("a value of another kind", error), row)
            else:
                yield converted

    def leave_out(self, skip: Skip, row: Row) -> None:
        where = [place_of(row)] if place_of(row) else []
        if skip.value is not None:
            where.append(repr(skip.value)[:60])
        self._left.add(skip.reason, ": ".join(where))

    def left_out(self) -> list[str]:
        """Every reason with its count and the first row, most frequent first."""
        return self._left.sentences()

    def image(self, value: Any) -> str:
        """Reference of a picture given as bytes, as `{bytes, path}`, or by its path. Raises Skip."""
        if isinstance(value, list) and len(value) == 1:
            (value,) = value
        if isinstance(value, Mapping):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes | bytearray | memoryview) and len(value):
            return self._taken(bytes(value))
        if not isinstance(value, str) or not value:
            raise Skip("no image")
        reference = self._roots.reference(value)
        if reference is None:
            inside = self._roots.may_hold(value)
            raise Skip("image not found" if inside else "image outside the folders of --images", value)
        return reference if self._keep == "reference" else self._taken(self._store.read(reference))

    def _taken(self, content: bytes) -> str:
        try:
            return self._store.add(content)
        except RequestError as error:
            raise Skip("image unreadable") from error


def text(row: Row, column: str) -> str:
    """A request that can be judged. Raises Skip."""
    value = row.get(column)
    if not isinstance(value, str) or not value.strip():
        raise Skip("no request")
    try:
        UserRequest(value)
    except RequestError as error:
        raise Skip("request cannot be judged") from error
    return value


def number(row: Row, column: str) -> float:
    """A finite number. Raises Skip."""
    value = finite_number(row.get(column))
    if value is None:
        raise Skip(f"no number in {column}")
    return value


def models_of(row: Row, first: str, second: str) -> tuple[str, str] | None:
    a, b = row.get(first), row.get(second)
    return (a, b) if isinstance(a, str) and isinstance(b, str) else None


@dataclass
class ImportCounts:
    """What an import wrote."""

    pairs: int = 0
    ties: int = 0


def write_pairs(path: Path, pairs: Iterable[PreferencePair], intake: Intake, limit: int | None = None) -> ImportCounts:
    """Write the pairs, each question once in either order, replacing the file as a whole.

    Memory grows by about 80 bytes a pair, for finding what was there before.
    """
    counts, skipped = ImportCounts(), intake.skipped
    rows_by_key: dict[int, str] = {}
    with replacing(path) as file:
        for pair in pairs:
            if pair.first == pair.second:
                skipped["the same image twice"] += 1
                continue
            either = int(digest([pair.request, pair.sources, sorted((pair.first, pair.second))]), 16)
            better = {"A": pair.first, "B": pair.second}.get(pair.preference.value, "")[-6:]
            if either in rows_by_key:
                skipped[
                    "asked before" if rows_by_key[either] == better else "asked before, with another preference"
                ] += 1
                continue
            rows_by_key[either] = better
            file.write(encoded(pair.to_json()))
            counts.pairs += 1
            counts.ties += pair.preference.value == "TIE"
            if limit is not None and counts.pairs >= limit:
                break
        if not counts.pairs:
            raise ConfigError(f"Not one row gave a pair: {', '.join(intake.left_out()[:2]) or 'no rows'}.")
    return counts
