"""What started servers say: one file for each start, in the user's state folder; the newest few are kept."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Final

from ..storage import storing

MOST_LOGS: Final = 5
"""Logs that are kept of each server."""
LAST_BYTES: Final = 16_384
LONGEST_LINE: Final = 300


def log_folder() -> Path:
    """The user's folder for what programs keep between runs; it need not exist."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return base / "rationalrewards" / "servers"


def open_log(name: str) -> tuple[Path, IO[bytes]]:
    """A new log of a server, readable by the user alone; the oldest ones go. StorageError where the disk refuses."""
    folder = log_folder()
    path = folder / f"{file_stem(name)}.{datetime.now():%Y%m%d-%H%M%S-%f}.{os.getpid()}.log"
    with storing(path):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), "ab", buffering=0)
    for old in logs(name)[:-MOST_LOGS]:
        with suppress(OSError):  # Windows: another process still writes to it
            old.unlink()
    return path, file


def file_stem(name: str) -> str:
    """A server's name as the beginning of a file's."""
    return re.sub(r"[^\w.-]", "_", name)[:100]


def logs(name: str) -> list[Path]:
    """A server's logs, oldest first."""
    ours = re.compile(rf"{re.escape(file_stem(name))}\.\d{{8}}-\d{{6}}-\d{{6}}\.\d+\.log")
    folder = log_folder()
    return sorted(path for path in folder.glob("*.log") if ours.fullmatch(path.name)) if folder.is_dir() else []


def last_line(path: Path) -> str:
    """The last line that says something, shortened; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LAST_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    texts = [" ".join(line.split()) for line in lines if re.search(r"\w", line)]
    return texts[-1][:LONGEST_LINE] if texts else ""
