"""Whether the files of a GGUF judge are whole: all parts, all tensors, and content where a download left room for it.

llama.cpp runs a file whose tensors are zeros without a word, and its judge then writes nonsense.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, Final

from ..errors import ConfigError
from .files import PART
from .header import GgufHeader, read_header
from .pairs import GgufPair

GLANCE: Final = 4096
"""Bytes looked at in the middle of a tensor; only where they are zeros it is read as a whole."""
PIECE: Final = 2**24


def weight_parts(model: Path) -> list[Path]:
    """The files of a model: itself, or all of its parts in order. ConfigError that names the first part that is not there."""
    part = PART.search(model.stem)
    if part is None:
        return [model]
    head = model.stem[: part.start()]
    files = [model.with_name(f"{head}-{number:05d}-of-{part[2]}.gguf") for number in range(1, int(part[2]) + 1)]
    gap = next((file for file in files if not file.is_file()), None)
    if gap is not None:
        raise ConfigError(f"{model.name} has {int(part[2])} parts, and {gap.name} is not beside it; download it too.")
    return files


def whole_headers(files: GgufPair) -> list[GgufHeader]:
    """Of the model's parts in order, then of the tower. ConfigError, in one sentence, that names the first file which is cut
    short or has zeros for a matrix.
    """
    headers = [read_header(file) for file in (*weight_parts(files.model), files.mmproj)]
    for header in headers:
        _check_tensors(header)
    return headers


def _check_tensors(header: GgufHeader) -> None:
    path, tensors = header.path, sorted(header.tensors, key=lambda tensor: tensor.start)
    try:
        size = path.stat().st_size
        ends = [*(tensor.start for tensor in tensors), size][1:]
        with path.open("rb") as file:
            for tensor, end in zip(tensors, ends, strict=True):
                if tensor.start >= size:
                    raise ConfigError(f"{path.name} is cut short: it ends before {tensor.name}; download it again.")
                if tensor.axes > 1 and _is_empty(file, tensor.start, end):
                    raise ConfigError(f"{path.name} is damaged: {tensor.name} holds only zeros; download it again.")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error}); download it again.") from error


def _is_empty(file: IO[bytes], start: int, end: int) -> bool:
    """Whether all bytes from start to end are zeros."""
    file.seek((start + end) // 2)
    if any(file.read(min(GLANCE, end - file.tell()))):
        return False
    file.seek(start)
    while (left := end - file.tell()) > 0:
        piece = file.read(min(PIECE, left))
        if any(piece):
            return False
        if not piece:
            break
    return True
