"""In whose words a benchmark is asked: its own, read from the user's copy of its repository, or ours.

We ship none of the benchmarks' prompts. Their texts are literals in their JSON and Python files; Python files are
parsed for their literals and never run. Tables say which words were used, with a hash of them.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

from rationalrewards_core.errors import ConfigError
from rationalrewards_core.messages import defused

from ...data.pairs import digest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

WordingChoice = Literal["auto", "official", "ours"]
"""auto takes the benchmark's own words where they are found, and ours elsewhere."""
LARGEST_FILE: Final = 4 * 2**20
"""Bytes of a file that holds prompts."""
PROMPTS: Final = Path(__file__).parent / "prompts"
_UNKNOWN: Final = object()


@dataclass(frozen=True)
class BenchmarkWording:
    """The texts of a benchmark's questions."""

    texts: Mapping[str, Any]
    origin: Literal["official", "ours"]

    @cached_property
    def described(self) -> str:
        """What tables show."""
        return f"{self.origin} ({digest(self.texts)[:8]})"


def find_file(names: tuple[str, ...], *folders: Path | None) -> Path | None:
    """The first file of one of these names, at the top of a folder or anywhere below it."""
    for folder in (folder for folder in folders if folder is not None):
        for name in names:
            files = sorted(folder.rglob(name), key=lambda path: (len(path.parts), str(path)))
            if files:
                return files[0]
    return None


def official_file(choice: WordingChoice, names: tuple[str, ...], *folders: Path | None) -> Path | None:
    """Where the benchmark's own words are, if they are to be used. ConfigError if they must be and are not there."""
    file = None if choice == "ours" else find_file(names, *folders)
    if file is None and choice == "official":
        raise ConfigError(f"The benchmark's own prompts are in its {names[0]}, which is not here; give --checkout.")
    return file


def our_texts(name: str) -> dict[str, Any]:
    return tomllib.loads((PROMPTS / f"{name}.toml").read_text(encoding="utf-8"))


def json_texts(path: Path) -> dict[str, Any]:
    """A JSON object of texts."""
    try:
        table = json.loads(_content(path))
    except ValueError as error:
        raise ConfigError(f"{path} is no JSON.") from error
    if not isinstance(table, dict):
        raise ConfigError(f"{path} must be a JSON object of prompts.")
    return table


def python_literals(path: Path) -> dict[str, Any]:
    """Every name that a Python file binds to a literal, in any function; the file is not run."""
    try:
        tree = ast.parse(_content(path))
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is no Python file that can be read.") from error
    literals: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            value = _literal(node.value)
            if value is not _UNKNOWN:
                literals.setdefault(node.targets[0].id, value)
    return literals


def _literal(node: ast.expr) -> Any:
    """A text, number, or table of them; entries of a table that are something else are left out."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Dict):
        entries = [(_literal(k), _literal(v)) for k, v in zip(node.keys, node.values, strict=True) if k is not None]
        return {k: v for k, v in entries if isinstance(k, str) and v is not _UNKNOWN}
    return _UNKNOWN


def _content(path: Path) -> str:
    if path.stat().st_size > LARGEST_FILE:
        raise ConfigError(f"{path} is too large to be a file of prompts.")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as text: {error}.") from error


def text_of(texts: Mapping[str, Any], name: str, path: Path | str) -> str:
    """One text by name. ConfigError if the file does not have it: it is of another version."""
    text = texts.get(name)
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f"{path} has no text {name!r}; is it of another version of the benchmark?")
    return text


def filled(template: str, values: Mapping[str, str]) -> str:
    """The template with its marks replaced, all in one pass, by values in which no chat-control token works."""
    marks = re.compile("|".join(re.escape(mark) for mark in values))
    return marks.sub(lambda match: defused(values[match.group()]), template)
