"""An append-only file of JSON lines: every line on the disk before it counts, none ever changed.

Of a line that was torn (the process died while writing it) nothing was promised to anybody: it is cut off before the
next one is written. Lines that another process wrote meanwhile are read before anything is added.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ..rationalrewards_core.errors import ConfigError

try:
    import fcntl
except ImportError:  # pragma: no cover  (Windows has no advisory locks of this kind)
    fcntl = None  # type: ignore[assignment]

Row = dict[str, Any]


class PreferenceLog:
    """Hands every whole line, once and in order, to `apply`; `reset` is called before the file is read anew.

    It takes no lock of its own against threads: its owner does.
    """

    def __init__(self, path: Path, apply: Callable[[Row], None], reset: Callable[[], None]) -> None:
        self.path = path
        self._apply, self._reset = apply, reset
        self._file_id: tuple[int, int] | None = None
        self._place, self._lines = 0, 0

    def read(self) -> None:
        """Apply the lines that are new. ConfigError that names the line if one is damaged."""
        try:
            with self.path.open("rb") as file:
                self._read(file)
        except FileNotFoundError:
            self._begin(None)

    @contextmanager
    def writing(self) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """Everything that is there has been read; gives the function that appends a line."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
            self._read(file)
            file.truncate(self._place)

            def append(row: Mapping[str, Any]) -> None:
                file.write((json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass"))
                file.flush()
                os.fsync(file.fileno())
                self._read(file)

            yield append

    def _read(self, file: IO[bytes]) -> None:
        status = os.fstat(file.fileno())
        if self._file_id != (status.st_dev, status.st_ino) or status.st_size < self._place:
            self._begin((status.st_dev, status.st_ino))
        file.seek(self._place)
        for line in file:
            if not line.endswith(b"\n"):
                break
            try:
                self._apply(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ConfigError(
                    f"{self.path}, line {self._lines + 1} is damaged; delete that line and try again."
                ) from error
            self._place += len(line)
            self._lines += 1

    def _begin(self, file_id: tuple[int, int] | None) -> None:
        self._file_id, self._place, self._lines = file_id, 0, 0
        self._reset()
