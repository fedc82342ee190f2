"""Files and folders that are whole: written in one piece and forced to the disk, or as they were before.

What a disk refuses (full, read-only, a file where a folder should be) is a `StorageError`, in one sentence.
"""

from __future__ import annotations

import errno
import glob
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from .errors import ConfigError, StorageError

UNFINISHED = "UNFINISHED"
"""A file in a folder whose files belong together, while some are new and others old."""

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
def replacing(path: Path, previous: Path | None = None, *, lasting: bool = True) -> Iterator[IO[bytes]]:
    """A new file that takes the place of `path` once it is whole and on the disk; if anything fails, all is as before.

    With `previous` the old file is kept under that name. What is not `lasting` can be had again and is not forced to
    the disk, which takes milliseconds. StorageError where the disk refuses.
    """
    unfinished = _beside(path)
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open("xb") as file:
                yield file
                file.flush()
                if lasting:
                    os.fsync(file.fileno())
            if previous is not None and path.exists():
                os.replace(path, previous)
            os.replace(unfinished, path)
            if lasting:
                sync_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise


def replace_file(path: Path, pieces: Iterable[bytes], *, lasting: bool = True) -> None:
    """Make `path` hold exactly `pieces`, or leave it as it was; see `replacing`. StorageError where the disk refuses."""
    with replacing(path, lasting=lasting) as file:
        file.writelines(pieces)


def replace_text(path: Path, text: str) -> None:
    """`replace_file` with a text in UTF-8."""
    replace_file(path, [text.encode("utf-8")])


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder that takes the place of `path` once all of it is whole and on the disk; else all is as before.

    Two names must change, so a process can die between them: then `path` is missing until the next call puts the old
    folder back; it is never half of each. StorageError where the disk refuses.
    """
    unfinished, before = _beside(path), path.with_name(f".{path.name}.before")
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _put_back(path, before)
        unfinished.mkdir()
        try:
            yield unfinished
            _sync_tree(unfinished)
            if path.exists():
                os.replace(path, before)
            os.replace(unfinished, path)
            sync_folder(path.parent)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            _put_back(path, before)
            raise
        shutil.rmtree(before, ignore_errors=True)


def copy_folder(source: Path, target: Path) -> None:
    """Make `target` a copy of a folder, replaced as a whole. StorageError where the disk refuses."""
    with replacing_folder(target) as new_folder:
        shutil.copytree(source, new_folder, dirs_exist_ok=True)


@contextmanager
def replacing_together(folder: Path, names: Sequence[str]) -> Iterator[list[IO[bytes]]]:
    """New files of a folder that belong together and change together; others in it stay. If anything fails, all is as before.

    A process that dies while the names change leaves the mark that `check_finished` refuses. StorageError where the
    disk refuses.
    """
    mark = folder / UNFINISHED
    with ExitStack() as files:
        opened = [files.enter_context(replacing(folder / name)) for name in names]
        yield opened
        replace_file(mark, [])
    with storing(mark):
        mark.unlink()


def check_finished(folder: Path, again: str) -> None:
    """ConfigError if a process died while it replaced files of `folder`; `again` says what to do."""
    if (folder / UNFINISHED).exists():
        raise ConfigError(f"{folder} was not finished, so that its files do not belong together; {again}.")


def clear_unfinished(folder: Path, name: str = "") -> None:
    """Remove what a killed process left of what it was replacing: of `name`, or of any here and in folders below.

    For whoever alone writes there, and has the lock that says so.
    """
    with storing(folder):
        left = folder.glob(f".{glob.escape(name)}.????????.part") if name else folder.rglob(".*.????????.part")
        for unfinished in list(left):
            if unfinished.is_dir():
                shutil.rmtree(unfinished)
            else:
                unfinished.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def _put_back(path: Path, before: Path) -> None:
    """Undo a change of names that was not finished; of one that was, remove the old folder."""
    if before.exists() and not path.exists():
        os.replace(before, path)
    shutil.rmtree(before, ignore_errors=True)


def _sync_tree(folder: Path) -> None:
    for place, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(place, name), "r+b") as file:
                os.fsync(file.fileno())
        sync_folder(Path(place))


def forget_cached(file: Path) -> None:
    """Let the system use the memory in which it holds a file that is on the disk, for what is needed sooner.

    Where a system has no such thing, nothing happens.
    """
    if not hasattr(os, "posix_fadvise"):
        return
    with suppress(OSError), file.open("rb") as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


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
