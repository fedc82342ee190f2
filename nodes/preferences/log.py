"""A file of JSON lines that several processes add to in turn, read on from where this one has come to.

Lines that another process wrote meanwhile are read before anything is added. A damaged line closes nothing: it is
counted and said, and the others stand.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ...rationalrewards_core.jsonl import DamagedLine, LineWriter, Row, lines_from
from ...rationalrewards_core.storage import storing

log = logging.getLogger("rationalrewards.preferences")


class PreferenceLog:
    """Hands every whole line, once and in order, to `apply`; `reset` is called before the file is read anew.

    It takes no lock of its own against threads: its owner does.
    """

    def __init__(self, path: Path, apply: Callable[[Row], None], reset: Callable[[], None]) -> None:
        self.path = path
        self._apply, self._reset = apply, reset
        self._file_id: tuple[int, int] | None = None
        self._place, self._number = 0, 1
        self.damaged = 0
        """Lines that could not be read, or said something impossible."""

    def read(self) -> None:
        """Apply the lines that are new. StorageError if the file cannot be read."""
        with storing(self.path):
            try:
                file = self.path.open("rb")
            except FileNotFoundError:
                self._begin(None)
                return
            with file:
                self._read(file)

    @contextmanager
    def writing(self) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """Everything that is there has been read; gives the function that appends a line."""
        with LineWriter(self.path, wait=True) as lines:
            self._read(lines.file)

            def append(row: Mapping[str, Any]) -> None:
                lines.append(row)
                self._read(lines.file)

            yield append

    def _read(self, file: IO[bytes]) -> None:
        status = os.fstat(file.fileno())
        if self._file_id != (status.st_dev, status.st_ino) or status.st_size < self._place:
            self._begin((status.st_dev, status.st_ino))
        for line in lines_from(file, self.path, self._place, self._number):
            try:
                line.build(self._apply)
            except DamagedLine as error:
                self.damaged += 1
                log.warning("%s The picks of all other lines stand.", error)
            self._place, self._number = line.end, line.number + line.content.endswith(b"\n")

    def _begin(self, file_id: tuple[int, int] | None) -> None:
        self._file_id, self._place, self._number = file_id, 0, 1
        self.damaged = 0
        self._reset()
