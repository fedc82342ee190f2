"""Files that are whole: written in one piece and forced to the disk, or as they were before.

What a disk refuses (full, read-only, a file where a folder should be) is a `StorageError`, in one sentence.
"""

from __future__ import annotations

import errno
import glob
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from .errors import StorageError

_ADVICE = {
    errno.ENOSPC: "free some space, then run it again",
    errno.EDQUOT: "free some space, then run it again",
    errno.EFBIG: "allow larger files there, then run it again",
    errno.EROFS: "choose a folder that can be written to",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EEXIST: "there is a file where a folder should be; choose a folder",
    errno.ENOTDIR: "there is a file where a folder should be; choose a folder",
    errno.EISDIR: "there is a folder where a file should be; choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
}


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turns what the operating system refuses about `path` into a StorageError of one sentence."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "choose another place, or look at that disk")
        raise StorageError(f"{path} cannot be used: {error.strerror or error}; {advice}.") from error


@contextmanager
def replacing(path: Path, previous: Path | None = None) -> Iterator[IO[bytes]]:
    """A new file that takes the place of `path` once it is whole and on the disk; if anything fails, all is as before.

    With `previous` the old file is kept under that name. StorageError where the disk refuses.
    """
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if previous is not None and path.exists():
                os.replace(path, previous)
            os.replace(unfinished, path)
            sync_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise


def replace_file(path: Path, pieces: Iterable[bytes]) -> None:
    """Make `path` hold exactly `pieces`, or leave it as it was. StorageError where the disk refuses."""
    with replacing(path) as file:
        file.writelines(pieces)


def clear_unfinished(folder: Path, name: str = "") -> None:
    """Remove what a killed process left of the file it was replacing: of `name`, or of any here and in folders below.

    For whoever alone writes there, and has the lock that says so.
    """
    with storing(folder):
        left = folder.glob(f".{glob.escape(name)}.????????.part") if name else folder.rglob(".*.????????.part")
        for unfinished in list(left):
            unfinished.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk, where the system knows how."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no such thing
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
