"""Profiles of servers, remembered: in this process, and on disk for a week.

One small file each in the user's own cache folder, named by the digest of what the profile is true of: address, model as
it is listed, version, and the settings under which the server was probed. Another model or version is another file.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ..errors import StorageError
from ..storage import replace_file
from .server_profile import ServerProfile, profile_from_json

log = logging.getLogger("rationalrewards.backends.profile_store")

LONGEST_AGE: Final = 7 * 24 * 3600
"""Seconds; hosted servers do not say which version they are."""

_HERE: Final[dict[str, ServerProfile]] = {}
"""What was found out in this process, by key."""


def cache_folder() -> Path:
    """The user's own folder for what can be found out again; it need not exist."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "rationalrewards" / "servers"


def profile_key(*truths: Any) -> str:
    """Digest of what a profile is true of."""
    return hashlib.sha256(json.dumps(truths, sort_keys=True).encode()).hexdigest()[:32]


def remembered(key: str, *, on_disk: bool = True) -> ServerProfile | None:
    """The profile kept under a key; None if there is none, or it is too old, or was written by another version."""
    if key in _HERE or not on_disk:
        return _HERE.get(key)
    path = cache_folder() / f"{key}.json"
    try:
        if time.time() - path.stat().st_mtime > LONGEST_AGE:
            return None
        row = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return profile_from_json(row) if isinstance(row, dict) else None


def remember(key: str, profile: ServerProfile, *, on_disk: bool = True) -> None:
    """Keep a profile; a cache that cannot be written costs only the next probe."""
    _HERE[key] = profile
    if on_disk:
        content = json.dumps(profile.to_json(), indent=1).encode()
        try:
            replace_file(cache_folder() / f"{key}.json", [content])
        except StorageError as error:
            log.info("what the server honours is not kept: %s", error)


def forget_all() -> None:
    """Forget every profile, here and on disk."""
    _HERE.clear()
    for path in cache_folder().glob("*.json"):
        with suppress(OSError):
            path.unlink()
