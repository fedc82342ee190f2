"""Images of a run, by reference: a copy by content in the run's folder, or a place in a folder or archive.

images/3f/3f9a....png            a copy; the name is the SHA-256 of its bytes
file:/data/hpdv3/images/1.jpg    a file left where it is
tar:/data/hpdv3/images.tar#a.jpg a member of an uncompressed tar, read in place
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image

from rationalrewards_core.errors import ConfigError, RequestError
from rationalrewards_core.images import MAX_PIXELS, image_header, open_image
from rationalrewards_core.storage import replace_file

SUFFIX: Final = {"PNG": "png", "JPEG": "jpg", "MPO": "jpg", "WEBP": "webp"}
"""MPO is what phones write: a JPEG with more pictures behind the first."""


class ImageStore:
    """Opens references, and keeps copies by content: the same picture is stored once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._archives: dict[str, TarIndex] = {}

    def add(self, content: bytes) -> str:
        """Keep a picture; returns its reference. RequestError if it is none (its header is read, no more)."""
        suffix = SUFFIX[image_header(content, MAX_PIXELS)[0]]
        name = hashlib.sha256(content).hexdigest()
        reference = f"images/{name[:2]}/{name}.{suffix}"
        path = self.folder / reference
        if not _is_whole(path, len(content)):
            replace_file(path, [content], lasting=False)
        return reference

    def open(self, reference: str) -> Image.Image:
        """The picture, upright RGB. RequestError if it is missing or damaged."""
        return open_image(self.read(reference), MAX_PIXELS)

    def read(self, reference: str) -> bytes:
        """The bytes behind a reference. RequestError if they are not there."""
        scheme, _, place = reference.partition(":")
        if scheme == "tar" and place:
            archive, _, member = place.partition("#")
            index = self._archives.setdefault(archive, TarIndex(Path(archive)))
            return index.read(member)
        path = Path(place) if scheme == "file" and place else self.folder / reference
        try:
            return path.read_bytes()
        except OSError as error:
            raise RequestError(f"The image {reference!r} cannot be read: {error.strerror}.") from error


def _is_whole(path: Path, size: int) -> bool:
    """Whether a file is there in its full length, which a lost machine may have cut."""
    try:
        return path.stat().st_size == size
    except OSError:
        return False


class TarIndex:
    """Where the members of an uncompressed tar begin; one pass over the archive, made on first use."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, tuple[int, int]] | None = None

    def __contains__(self, member: str) -> bool:
        return member in self._index()

    def read(self, member: str) -> bytes:
        place = self._index().get(member)
        if place is None:
            raise RequestError(f"{self.path} has no member {member!r}.")
        with self.path.open("rb") as file:
            file.seek(place[0])
            return file.read(place[1])

    def _index(self) -> dict[str, tuple[int, int]]:
        if self._places is None:
            try:
                with tarfile.open(self.path, "r:") as archive:
                    self._places = {m.name.removeprefix("./"): (m.offset_data, m.size) for m in archive if m.isfile()}
            except (tarfile.TarError, OSError) as error:
                raise ConfigError(f"{self.path} is no uncompressed tar; unpack it and give the folder.") from error
        return self._places


class ImageRoots:
    """Finds the pictures that a data set names by path, in folders and tars given by the user."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._folders = [root.resolve() for root in roots if root.is_dir()]
        self._archives = [TarIndex(root.resolve()) for root in roots if root.is_file()]
        missing = [root for root in roots if not root.exists()]
        if missing:
            raise ConfigError(f"There is no folder or tar {str(missing[0])!r} to take images from.")

    def reference(self, name: str) -> str | None:
        """Where a picture is; None if it is nowhere, or if its name points out of the folders.

        A whole path is taken if it lies in one of the folders; a name with backslashes was written on Windows.
        """
        if not self.may_hold(name):
            return None
        for spelling in dict.fromkeys((name, name.replace("\\", "/"))):
            path = self._find(spelling.removeprefix("./"))
            if path is not None:
                return path
        return None

    def may_hold(self, name: str) -> bool:
        """Whether a name points into the folders, as far as its spelling goes."""
        if os.path.isabs(name):
            return any(Path(name).resolve().is_relative_to(folder) for folder in self._folders)
        return ".." not in name.replace("\\", "/").split("/")

    def _find(self, name: str) -> str | None:
        for folder in self._folders:
            path = os.path.join(folder, name)  # a whole path stays as it is
            if os.path.isfile(path):
                return f"file:{path}"
        for archive in self._archives:
            if name in archive:
                return f"tar:{archive.path}#{name}"
        return None
