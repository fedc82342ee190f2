"""What a checkpoint or adapter folder holds, as a short digest: other files are another judge.

Small files count by their content, weights by size, time of writing and their table of tensors, so that 16 GB are
never read for it.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Final

SMALL: Final = 4 * 2**20
HEADER: Final = 2**16
"""Bytes at a large file's beginning that count; there safetensors has names, shapes and places of its tensors."""
PATTERNS: Final = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")


def folder_fingerprint(folder: Path) -> str:
    """16 hexadecimal digits that change with any file a judge is made of; empty for what is no folder."""
    digest = hashlib.sha256()
    files = sorted({file for pattern in PATTERNS for file in folder.glob(pattern) if file.is_file()})
    for file in files:
        status = file.stat()
        digest.update(f"{file.name}:{_content(file, status.st_size, status.st_mtime_ns)}\n".encode())
    return digest.hexdigest()[:16] if files else ""


@lru_cache(maxsize=512)
def _content(file: Path, size: int, mtime: int) -> str:
    with file.open("rb") as opened:
        digest = hashlib.sha256(opened.read(size if size <= SMALL else HEADER)).hexdigest()
    return digest if size <= SMALL else f"{digest}:{size}:{mtime}"
