"""Pictures in ComfyUI's temp folder, for cards and filmstrips to show."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import TypedDict

from PIL import Image


class TempImage(TypedDict):
    """What the frontend's /view route is asked for."""

    filename: str
    subfolder: str
    type: str


def save_temp_image(picture: Image.Image, prefix: str) -> TempImage:
    """Write a PNG named by its content: the same picture again is the same file, and is not written twice.

    `prefix` is reduced to letters, digits, `-` and `_`. ComfyUI empties the folder when it starts.
    """
    import folder_paths

    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    address = hashlib.sha256(f"{picture.mode} {picture.size} ".encode() + picture.tobytes()).hexdigest()[:20]
    name = f"{re.sub(r'[^A-Za-z0-9_-]+', '_', prefix)[:60]}_{address}.png"
    if not (folder / name).is_file():
        _write(picture, folder / name)
    return {"filename": name, "subfolder": "", "type": "temp"}


def _write(picture: Image.Image, path: Path) -> None:
    """All of the file or none of it: an interrupt must not leave half a picture under a content's name."""
    handle, unfinished = tempfile.mkstemp(suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            picture.save(file, format="PNG", compress_level=1)
        os.replace(unfinished, path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
