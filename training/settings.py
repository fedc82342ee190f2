"""Settings as files: what `--show` prints, `--config` reads."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rationalrewards_core.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib


def read_settings(path: Path) -> dict[str, Any]:
    """The table of a TOML file, or of a run's own `config.json`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        table = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise ConfigError(f"{path} is not a readable {kind} file: {error}.") from error
    if not isinstance(table, dict):
        raise ConfigError(f"{path} is no table of settings.")
    return table


def settings_toml(config: Any) -> str:
    """A configuration (a dataclass, whose fields may be dataclasses) as TOML; what is None is written as "none"."""
    table = asdict(config)
    lines = [f"{key} = {_written(value)}" for key, value in table.items() if not isinstance(value, Mapping)]
    for key, part in table.items():
        if isinstance(part, Mapping):
            lines += ["", f"[{key}]", *(f"{name} = {_written(value)}" for name, value in part.items())]
    return "\n".join(lines).strip()


def _written(value: Any) -> str:
    """TOML writes texts, numbers, truth values and lists as JSON does, but for the characters beyond ASCII's last."""
    return json.dumps("none" if value is None else value, ensure_ascii=False).replace("\x7f", "\\u007f")
