"""The settings that something was made with, kept beside it: going on with others is refused, by the key that differs."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from rationalrewards_core.errors import ConfigError
from rationalrewards_core.storage import replace_file

from .settings import read_settings


def settle(
    path: Path, settings: Mapping[str, Any], *, begun: bool, holds: str, advice: str, free: Collection[str] = ()
) -> None:
    """Save the settings. ConfigError if something was `begun` with others; what has saved nothing is begun anew.

    `free` are the settings, as `group.key`, that may be others when it goes on, such as how long it runs.
    The sentence is `holds` (such as "runs/a holds a run with other settings"), what differs, and `advice`.
    """
    plain = json.loads(json.dumps(settings))
    if path.exists():
        changes = changed_settings(read_settings(path), plain)
        refused = [change for change in changes if change.split(" ", 1)[0] not in free]
        if begun and refused:
            raise ConfigError(f"{holds}: {'; '.join(refused)}; {advice}.")
        if not changes:
            return
    replace_file(path, [json.dumps(plain, indent=2, sort_keys=True).encode()])


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What differs between two tables, each as `group.key was 1, is 2`."""
    changes: list[str] = []
    for key in sorted({*before, *now}):
        old, new = before.get(key, "absent"), now.get(key, "absent")
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            changes += changed_settings(old, new, f"{prefix}{key}.")
        elif old != new:
            changes.append(f"{prefix}{key} was {old}, is {new}")
    return changes
