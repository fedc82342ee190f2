"""The file of a stage: JSON lines, appended one by one and forced to the disk, re-opened after any kill.

Written lines are never changed while a stage runs. A torn last line (the process died in the middle of writing it)
is cut off on opening, its record was never counted as done. When every task of a stage is done the file is *sealed*:
its lines are put in the order of the tasks, by an atomic replacement, so that a finished file is byte for byte the
same whether its run was undisturbed or killed many times.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rationalrewards_core.errors import ConfigError

try:
    import fcntl
except ImportError:  # pragma: no cover  (Windows has no advisory locks of this kind)
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")


class Journal:
    """Appends records to one file; one process at a time. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = asyncio.Lock()
        self._waiting: list[bytes] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        self._guard = path.with_suffix(".lock").open("w")
        self._take_guard()
        cut_torn_line(path)
        self._file = path.open("ab")

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._guard.close()

    async def append(self, record: Mapping[str, Any]) -> None:
        """Returns once the record is on the disk. Records that wait at the same time share one trip there."""
        self._waiting.append((json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass"))
        async with self._lock:
            lines, self._waiting = self._waiting, []
            if lines:  # else whoever held the lock before has taken this record along
                await asyncio.to_thread(self._write, b"".join(lines))

    def seal(self, keys: Iterable[str]) -> None:
        """Put the lines in the order of `keys`; lines of other keys follow in the order of theirs."""
        places = dict(line_places(self.path))
        wanted = [key for key in keys if key in places]
        order = wanted + sorted(places.keys() - set(wanted))
        temporary = self.path.with_suffix(".sealing")
        with self.path.open("rb") as lines, temporary.open("wb") as sealed:
            for key in order:
                lines.seek(places[key])
                sealed.write(lines.readline())
            sealed.flush()
            os.fsync(sealed.fileno())
        self._file.close()
        os.replace(temporary, self.path)
        self._file = self.path.open("ab")

    def _write(self, lines: bytes) -> None:
        self._file.write(lines)
        self._file.flush()
        os.fsync(self._file.fileno())

    def _take_guard(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"Another process is writing {self.path}; wait for it, or use --shard.") from error


def cut_torn_line(path: Path) -> None:
    """Drop what follows the last line break; the file may be missing."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 65_536)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        file.truncate(end)


def line_places(path: Path) -> Iterator[tuple[str, int]]:
    """(key, offset) of every whole line. ConfigError if one is damaged."""
    if not path.exists():
        return
    place = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.endswith(b"\n"):
                yield str(_row(path, number, line)["key"]), place
            place += len(line)


def read_records(paths: Sequence[Path], build: Callable[[Mapping[str, Any]], T]) -> Iterator[T]:
    """Every whole record of the files, one at a time; a torn last line is left out, a damaged one a ConfigError."""
    for path in paths:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.endswith(b"\n"):
                    row = _row(path, number, line)
                    try:
                        yield build(row)
                    except (KeyError, TypeError, ValueError) as error:
                        raise ConfigError(f"{path}, line {number} is no record of this version ({error}).") from error


def _row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
        row["key"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}, line {number} is damaged; delete that line and run the stage again.") from error
    return dict(row)
