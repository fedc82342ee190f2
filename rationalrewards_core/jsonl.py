"""JSON lines that are only ever appended: one object a line, on the disk before it counts, none ever changed.

A line is whole if it ends in a line break, or if it is the last one and can be read (no beginning of an object is
itself an object). Of a last line that was torn, because its process died while writing it, nothing was promised to
anybody: the next writer says so and cuts it off. Damage anywhere else is a `DamagedLine` that names file and line;
whoever can do without a line counts it instead. One process writes a file at a time; any number may read it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from .errors import ConfigError
from .file_lock import FileLock
from .storage import clear_unfinished, replace_file, storing, sync_folder

log = logging.getLogger("rationalrewards.storage")

T = TypeVar("T")
Row = dict[str, Any]
_CHUNK = 65_536


class DamagedLine(ConfigError):
    """A line that cannot be read, and is not the torn last one."""

    def __init__(self, path: Path, number: int, why: str) -> None:
        super().__init__(f"{path}, line {number} {why}; delete that line and try again.")
        self.path, self.number = path, number


@dataclass(frozen=True)
class JsonLine:
    """One whole line of a file."""

    path: Path
    number: int
    """From 1."""
    place: int
    """Offset of its first byte."""
    content: bytes
    """With its line break, which only a last line may lack."""

    @property
    def end(self) -> int:
        return self.place + len(self.content)

    def row(self) -> Row:
        """Its object. DamagedLine if it holds none."""
        row = _parsed(self.content)
        if row is None:
            raise DamagedLine(self.path, self.number, "is damaged")
        return row

    def build(self, build: Callable[[Row], T]) -> T:
        """What `build` makes of its object. DamagedLine if it lacks something, or holds something else."""
        row = self.row()
        try:
            return build(row)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
            raise DamagedLine(self.path, self.number, f"is no record of this version ({error!r})") from error


def whole_lines(path: Path, *, finished: bool = False) -> Iterator[JsonLine]:
    """Every whole line that is not blank; none if there is no file. StorageError if it cannot be read.

    Of a file that is `finished`, written in one piece, a torn last line is damage like any other.
    """
    with storing(path):
        if path.exists():
            with path.open("rb") as file:
                yield from lines_from(file, path, finished=finished)


def lines_from(
    file: IO[bytes], path: Path, place: int = 0, number: int = 1, *, finished: bool = False
) -> Iterator[JsonLine]:
    """Those of an open file, from the offset `place` on, where line `number` begins."""
    file.seek(place)
    for content in file:
        line = JsonLine(path, number, place, content)
        if content.strip() and (finished or content.endswith(b"\n") or _parsed(content) is not None):
            yield line
        place, number = line.end, number + content.endswith(b"\n")


def read_lines(
    path: Path,
    build: Callable[[Row], T],
    damaged: Callable[[DamagedLine], None] | None = None,
    *,
    finished: bool = False,
) -> Iterator[T]:
    """What `build` makes of every whole line. A damaged one is raised, or handed to `damaged` and left out."""
    for line in whole_lines(path, finished=finished):
        try:
            built = line.build(build)
        except DamagedLine as error:
            if damaged is None:
                raise
            damaged(error)
        else:
            yield built


class LineWriter:
    """Appends to one file, whose only writer it is until it is closed; use it as a context manager.

    ConfigError if another process writes the file and `wait` is not set; StorageError where the disk refuses. After an
    append that failed the file is as it was before.
    """

    def __init__(self, path: Path, *, wait: bool = False, busy: str = "") -> None:
        """`busy` is what to say instead if another process writes the file."""
        self.path = path
        busy = busy or f"Another process is writing {path}; wait until it has ended."
        with storing(path):
            self._lock = FileLock(path.with_name(f"{path.name}.lock"), wait=wait, busy=busy)
        try:
            with storing(path):
                self.file = self._open()
                self._mend()
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> LineWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.file.close()
        self._lock.close()

    def append(self, *rows: Mapping[str, Any]) -> None:
        """Returns once the rows are on the disk."""
        content = b"".join(encoded(row) for row in rows)
        with storing(self.path):
            end = self.file.seek(0, os.SEEK_END)
            try:
                rest = memoryview(content)
                while rest:
                    rest = rest[self.file.write(rest) :]
                os.fsync(self.file.fileno())
            except BaseException:
                self.file.truncate(end)  # else the next line would be glued to a part of this one
                raise

    def replace(self, contents: Iterable[bytes]) -> None:
        """Put other lines in the place of all, at once."""
        self.file.close()  # Windows replaces no open file
        try:
            clear_unfinished(self.path.parent, self.path.name)
            replace_file(self.path, contents)
        finally:
            with storing(self.path):
                self.file = self._open()

    def keep(self, condition: Callable[[Row], bool]) -> None:
        """Drop the lines that do not meet `condition`. DamagedLine if one cannot be read."""
        every = list(lines_from(self.file, self.path))
        contents = [line.content for line in every if line.build(condition)]
        if len(contents) < len(every):
            self.replace(contents)

    def _open(self) -> IO[bytes]:
        new = not self.path.exists()
        file = self.path.open("a+b", buffering=0)
        if new:
            sync_folder(self.path.parent)
        return file

    def _mend(self) -> None:
        """Complete a last line that lacks nothing but its end; cut off one that was torn, and say so."""
        end = self.file.seek(0, os.SEEK_END)
        start = _last_break(self.file, end)
        if start == end:
            return
        self.file.seek(start)
        tail = self.file.read(end - start)
        if _parsed(tail) is not None:
            self.file.write(b"\n")
        elif tail.strip(b"\0 \t\r")[:1] not in (b"", b"{"):  # no line of ours began so: it is somebody's file
            raise ConfigError(f"{self.path} ends in something that is no JSON line; choose another file.")
        else:
            self.file.truncate(start)
            log.warning(
                "%s: its last line was torn while it was written; these %d bytes are cut off", self.path, len(tail)
            )
        os.fsync(self.file.fileno())


def encoded(row: Mapping[str, Any]) -> bytes:
    """One line; a lone surrogate in a text comes back as it was."""
    return (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")


def _parsed(content: bytes) -> Row | None:
    try:
        row = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _last_break(file: IO[bytes], end: int) -> int:
    """Offset after the last line break."""
    while end:
        start = max(0, end - _CHUNK)
        file.seek(start)
        place = file.read(end - start).rfind(b"\n")
        if place >= 0:
            return start + place + 1
        end = start
    return 0
