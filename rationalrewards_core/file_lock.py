"""A lock between processes: a file that one of them holds. It goes with its process, however that ends.

A forked child (a data loader's worker) does not keep it: a run can be resumed while the workers of the killed one
are still ending.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
from pathlib import Path
from typing import IO
from weakref import WeakSet

from .errors import ConfigError

log = logging.getLogger("rationalrewards.storage")

_BUSY = {errno.EAGAIN, errno.EACCES, errno.EDEADLK}
_OPEN: WeakSet[FileLock] = WeakSet()


class FileLock:
    """Held from its making to `close`; also between two parts of one process. The lock file is removed on closing."""

    def __init__(self, path: Path, *, wait: bool, busy: str) -> None:
        """`wait` for another holder, or be refused with a ConfigError that says `busy`. OSError where none can be made."""
        self.path = path
        self._file: IO[bytes] | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        while self._file is None:
            self._file = self._try(wait, busy)
        _OPEN.add(self)

    def close(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        try:
            if os.name != "nt":  # while it is held, so that nobody has locked a file that is then gone
                self.path.unlink(missing_ok=True)
            file.close()
            if os.name == "nt":
                self.path.unlink(missing_ok=True)
        except OSError:  # Windows: another process has opened it meanwhile and will remove it
            log.debug("%s is left behind", self.path)

    def __del__(self) -> None:
        self.close()

    def _try(self, wait: bool, busy: str) -> IO[bytes] | None:
        """The locked file; None if its holder removed it in between."""
        file = self.path.open("ab")
        try:
            _take(file, wait)
        except OSError as error:
            if error.errno in _BUSY:
                file.close()
                raise ConfigError(busy) from error
            log.warning("%s: this file system has no locks (%s); start no second process there", self.path, error)
        try:
            same = os.path.samestat(os.fstat(file.fileno()), self.path.stat())
        except FileNotFoundError:
            same = False
        if same:
            return file
        file.close()
        return None

    def _leave(self) -> None:
        """In a forked child: let go of the descriptor, which would keep the lock when the parent is gone."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


if sys.platform == "win32":  # pragma: no cover
    import msvcrt
    import time

    def _take(file: IO[bytes], wait: bool) -> None:
        while True:
            file.seek(0)
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            except OSError:
                if not wait:
                    raise
                time.sleep(0.02)
            else:
                return

else:
    import fcntl

    def _take(file: IO[bytes], wait: bool) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))

    def _leave_all() -> None:
        for lock in list(_OPEN):
            lock._leave()

    os.register_at_fork(after_in_child=_leave_all)
