"""Finished iterations on the disk, so that none is made twice: not after a restart, and in no cache mode.

<user>/rationalrewards/loops/<key of a picture>/
    images.safetensors              all images of the iteration, exactly as the loop's nodes got them
    judged_<key>.json               what was thought of them (`judgement`)
    rationalrewards_<...>.webp      the one that the film shows

In ComfyUI's user folder, because it outlives a restart and is neither listed among an artist's own pictures nor emptied.
The folder may be deleted at any time. What was not used for the longest leaves when `LIMIT_BYTES` are reached.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from ...rationalrewards_core.errors import StorageError
from ...rationalrewards_core.storage import forget_cached, replace_file
from ..show.previews import link_file

log = logging.getLogger("rationalrewards.nodes")

LIMIT_BYTES: Final = 4 * 1024**3
"""About 300 pictures of 1024 x 1024 as float32."""
SPARE_BYTES: Final = 2 * 1024**3
"""Nothing is kept on a disk with less room than this."""
IMAGES: Final = "images.safetensors"
WAITING: Final = 2
"""Iterations that may wait to be written; the next one waits for the disk, so that memory does not grow."""
ABANDONED_SECONDS: Final = 3600


class KeptIterations:
    """One folder of iterations. Its methods may be called from any thread; writing is done in one of its own."""

    def __init__(self, folder: Path, limit: int = LIMIT_BYTES, spare: int = SPARE_BYTES) -> None:
        self.folder = folder
        self._limit, self._spare = limit, spare
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rationalrewards-kept")
        self._lock = threading.Lock()
        self._writing: list[tuple[str, Future[None]]] = []
        """Iterations, in the order in which they are written."""
        self._bytes: int | None = None

    def has(self, picture: str) -> bool:
        """Once what is being written of it is there. Nobody waits for other iterations: the next one begins meanwhile."""
        self.settle(picture)
        return (self.folder / picture / IMAGES).is_file()

    def images(self, picture: str) -> list[Any] | None:
        """The batches [B, H, W, C] of an iteration, exactly as they were; None if they cannot be read."""
        from .exact_images import read_images

        self.settle(picture)
        try:
            batches = read_images(self.folder / picture / IMAGES)
            os.utime(self.folder / picture)  # used: it leaves after those that were not
        except OSError:
            return None
        except ValueError as error:
            log.warning("%s cannot be read and is made again: %s", self.folder / picture, error)
            return None
        return batches

    def text(self, picture: str, name: str) -> str | None:
        """A small file beside the images."""
        try:
            return (self.folder / picture / name).read_text(encoding="utf-8")
        except (OSError, ValueError):
            return None

    def file(self, picture: str, name: str) -> Path | None:
        file = self.folder / picture / name
        return file if Path(name).name == name and file.is_file() else None

    def keep(self, picture: str, batches: Sequence[Any] | None, texts: Mapping[str, str], preview: Path | None) -> None:
        """Begin to write an iteration; `batches` None adds to one whose images are there.

        The images are copied first: a node behind this one may work on them in place.
        """
        copies = None if batches is None else [batch.detach().cpu().clone() for batch in batches]
        with self._lock:
            self._writing = [(name, one) for name, one in self._writing if not one.done()]
            full = self._writing[: len(self._writing) - WAITING + 1]
            writing = self._threads.submit(self._write, picture, copies, dict(texts), preview)
            self._writing.append((picture, writing))
        for _, one in full:
            one.result()

    def settle(self, picture: str | None = None) -> None:
        """Wait until everything is written, or everything of one iteration."""
        with self._lock:
            awaited = [one for name, one in self._writing if picture in (None, name)]
        for one in awaited:
            one.result()

    def _write(self, picture: str, batches: list[Any] | None, texts: dict[str, str], preview: Path | None) -> None:
        """The images last: an iteration is there when they are."""
        from .exact_images import image_bytes

        folder = self.folder / picture
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(folder).free < self._spare:
                log.warning("No iterations are kept in %s: the disk is nearly full.", self.folder)
                return
            if preview is not None:
                link_file(preview, folder / preview.name)
            for name, text in texts.items():
                replace_file(folder / name, [text.encode()])
            if batches is not None:
                replace_file(folder / IMAGES, image_bytes(batches))
                forget_cached(folder / IMAGES)  # seldom read again; gigabytes of them would take the models' place
        except (OSError, StorageError) as error:
            log.warning("This iteration is not kept and may be made again: %s", error)
        self._make_room(_bytes_of(folder))

    def _make_room(self, size: int) -> None:
        """Let the iterations go that were not used for the longest, when there are too many bytes."""
        self._bytes = self._swept_size() if self._bytes is None else self._bytes + size
        if self._bytes <= self._limit:
            return
        self._bytes = self._swept_size()
        for folder in sorted(self._folders(), key=lambda one: one.stat().st_mtime):
            if self._bytes <= self._limit * 0.9:
                return
            self._bytes -= _bytes_of(folder)
            (folder / IMAGES).unlink(missing_ok=True)  # first, so that half an iteration is none
            shutil.rmtree(folder, ignore_errors=True)

    def _swept_size(self) -> int:
        """Bytes of all iterations, once the unfinished files that killed processes left are removed."""
        for folder in self._folders():
            for part in folder.glob(".*.part"):  # of a process that was killed
                if time.time() - part.stat().st_mtime > ABANDONED_SECONDS:
                    part.unlink(missing_ok=True)
        return sum(map(_bytes_of, self._folders()))

    def _folders(self) -> list[Path]:
        return [entry for entry in self.folder.iterdir() if entry.is_dir()] if self.folder.is_dir() else []


def _bytes_of(folder: Path) -> int:
    try:
        return sum(file.stat().st_size for file in folder.iterdir())
    except OSError:
        return 0


_STORES: dict[Path, KeptIterations] = {}


def kept_iterations() -> KeptIterations:
    """The store of this ComfyUI's user folder."""
    import folder_paths

    folder = Path(folder_paths.get_user_directory()) / "rationalrewards" / "loops"
    return _STORES.setdefault(folder, KeptIterations(folder))
