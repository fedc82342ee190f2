"""GGUF models and picture towers of a folder, by the names of their files alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

TOWER: Final = "mmproj"
"""What the name of a picture tower's file has in it."""
PART: Final = re.compile(r"-(\d{5})-of-(\d{5})$")


def is_tower_name(name: str) -> bool:
    return TOWER in name.lower()


def models(folder: Path) -> list[Path]:
    """GGUF models of one folder, towers left out; of a model in parts the first."""
    files = sorted(file for file in _gguf_files(folder) if not is_tower_name(file.name))
    return [file for file in files if (part := PART.search(file.stem)) is None or int(part[1]) == 1]


def towers(folder: Path) -> list[Path]:
    """Picture towers of one folder, by their names."""
    return sorted(file for file in _gguf_files(folder) if is_tower_name(file.name))


def _gguf_files(folder: Path) -> list[Path]:
    return [file for file in folder.glob("*") if file.suffix.lower() == ".gguf" and file.is_file()]
