"""The file of a stage: JSON lines, appended as they come and re-opened after any kill.

Written lines are never changed while a stage runs. When every task of a stage is done the file is *sealed*: its lines
are put in the order of the tasks, by an atomic replacement, so that a finished file is byte for byte the same whether
its run was undisturbed or killed many times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rationalrewards_core.jsonl import LineWriter, Row, whole_lines


class Journal:
    """Appends records to one file; one process at a time. Use as a context manager."""

    def __init__(self, path: Path, busy: str = "", current: Callable[[Row], bool] = lambda _: True) -> None:
        """`busy` is what to say if another process writes the file: a ConfigError. Lines that are not `current` any more
        (their pair has another label now) are dropped when the file is sealed.
        """
        self.path, self._current = path, current
        self._lock = asyncio.Lock()
        self._waiting: list[Mapping[str, Any]] = []
        self._lines = LineWriter(
            path, busy=busy or f"Another process is writing {path}; wait until it has ended, or use --shard."
        )

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another process write the file."""
        self._lines.close()

    async def append(self, record: Mapping[str, Any]) -> None:
        """Returns once the record is on the disk. Records that wait at the same time share one trip there."""
        self._waiting.append(record)
        async with self._lock:
            records, self._waiting = self._waiting, []
            if records:  # else whoever held the lock before has taken this record along
                await asyncio.to_thread(self._lines.append, *records)

    def seal(self, keys: Iterable[str]) -> None:
        """Put the lines in the order of `keys`; lines of other keys follow in the order of theirs."""
        places = {line.build(_key): line.place for line in whole_lines(self.path) if line.build(self._current)}
        order = [key for key in dict.fromkeys(keys) if key in places]
        self._lines.replace(_contents(self.path, [places[key] for key in order + sorted(places.keys() - set(order))]))


def _contents(path: Path, places: Iterable[int]) -> Iterator[bytes]:
    with path.open("rb") as lines:
        for place in places:
            lines.seek(place)
            yield lines.readline()


def _key(row: Row) -> str:
    return str(row["key"])
