"""The user's own config file: where it is, and what it allows (`servers` reads the servers that it names).

Who runs a ComfyUI for others says in it whether its pages may fetch a released judge:

    [downloads]
    judges = true
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from .errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib


def default_config_path() -> Path:
    """The user's own config file; it need not exist."""
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "rationalrewards" / "config.toml"


def load_downloads(path: Path) -> bool | None:
    """Whether pages may fetch a released judge; None if the file does not say."""
    downloads = config_tables(path).get("downloads", {})
    if not isinstance(downloads, dict) or set(downloads) - {"judges"}:
        raise ConfigError(f"{path}: [downloads] knows only judges = true or false.")
    wish = downloads.get("judges")
    if wish is not None and not isinstance(wish, bool):
        raise ConfigError(f"{path}: downloads.judges must be true or false.")
    return wish


def config_tables(path: Path) -> dict[str, Any]:
    """The file's tables; none if there is no file."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from error
    for key in table:
        if key not in ("servers", "downloads"):
            raise ConfigError(f"{path}: unknown key {key!r}; only [servers.NAME] tables and [downloads] are known.")
    return table
