"""Settings as files: what `--show` prints, `--config` reads."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
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


def check_finite(config: Any, prefix: str = "") -> None:
    """ConfigError that names the first number of a configuration that is NaN or infinite: no comparison refuses those."""
    for field in fields(config):
        value, name = getattr(config, field.name), f"{prefix}{field.name}"
        if is_dataclass(value):
            check_finite(value, f"{name}.")
            continue
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                raise ConfigError(f"{name} must be a finite number, not {number}.")


def finite(text: str) -> float:
    """A number of the command line, as argparse's `type`."""
    number = float(text)
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text} is no finite number")
    return number


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
