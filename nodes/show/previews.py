"""Pictures in ComfyUI's temp folder, for cards, filmstrips and histories. Each is encoded once, beside the node's other work."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import weakref
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, TypedDict

from PIL import Image

from ...rationalrewards_core.storage import replace_file

PREFIX: Final = "rationalrewards"
WEBP_SIDE: Final = 16_383
"""Pixels that a side of a WebP has at most."""


class TempImage(TypedDict):
    """What the frontend's /view route is asked for."""

    filename: str
    subfolder: str
    type: str


@dataclass(frozen=True)
class SavedBatch:
    """Pictures that were saved of one tensor [B, H, W, C], so that nobody needs to save them again."""

    images: weakref.ref[Any]
    pictures: tuple[TempImage, ...]

    def picture(self, images: Any, index: int) -> TempImage | None:
        """The picture of `images[index]`; None if that is another tensor, or the file is gone."""
        if self.images() is not images or not (temp_folder() / self.pictures[index]["filename"]).is_file():
            return None
        return self.pictures[index]


def saved_batch(images: Any, saving: Sequence[Future[TempImage]]) -> SavedBatch:
    """What `start_saving` has begun to do for the pictures of a tensor, once it is done."""
    return SavedBatch(weakref.ref(images), tuple(picture.result() for picture in saving))


def start_saving(pictures: Sequence[Image.Image]) -> list[Future[TempImage]]:
    """Save pictures in threads of their own; their encoders let the node go on, and a judge on a GPU leaves them time."""
    return [_threads().submit(save_temp_image, picture, PREFIX) for picture in pictures]


def save_temp_image(picture: Image.Image, prefix: str = PREFIX) -> TempImage:
    """Write a picture without loss under a name made of its content: the same picture again is not written again.

    `prefix` is reduced to letters, digits, `-` and `_`. ComfyUI empties the folder when it starts.
    """
    folder = temp_folder()
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(f"{picture.mode} {picture.size} ".encode())
    digest.update(picture.tobytes())
    name = f"{re.sub(r'[^A-Za-z0-9_-]+', '_', prefix)[:60]}_{digest.hexdigest()[:20]}{_suffix(picture)}"
    if not (folder / name).is_file():
        _write(picture, folder / name)
    return {"filename": name, "subfolder": "", "type": "temp"}


def restored_temp_image(file: Path | None) -> TempImage | None:
    """A picture that was saved here once and is kept elsewhere, in the temp folder again; None if there is none."""
    if file is None:
        return None
    folder = temp_folder()
    folder.mkdir(parents=True, exist_ok=True)
    link_file(file, folder / file.name)
    return {"filename": file.name, "subfolder": "", "type": "temp"}


def link_file(source: Path, target: Path) -> None:
    """A second name for a file, unless there is one; a copy where the folders are on different disks."""
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:
        replace_file(target, [source.read_bytes()])


def temp_folder() -> Path:
    import folder_paths

    return Path(folder_paths.get_temp_directory())


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=2, thread_name_prefix="rationalrewards-pictures")


def _suffix(picture: Image.Image) -> str:
    return ".webp" if max(picture.size) <= WEBP_SIDE else ".png"


def _write(picture: Image.Image, path: Path) -> None:
    """All of the file or none of it: an interrupt must not leave half a picture under a content's name."""
    handle, unfinished = tempfile.mkstemp(suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            if path.suffix == ".webp":
                # The fastest of its lossless ways: a quarter of PNG's time for files of the same size.
                picture.save(file, format="WEBP", lossless=True, quality=0, method=0)
            else:
                picture.save(file, format="PNG", compress_level=1)
        os.replace(unfinished, path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
