"""Rubrics as TOML files: the built-in ones, a user's own, and the one a checkpoint was trained with.

Every mistake in a file is a `ConfigError` that names the file and the key. Unknown keys are errors.
"""

from __future__ import annotations

import json
import sys
from dataclasses import fields, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from .errors import ConfigError
from .judge_profile import JudgeProfile
from .rubric import Dimension, Kind, Layout, PairwiseWording, Rubric, Scale, Wording

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib


BUILT_IN: tuple[Kind, ...] = ("generation", "edit")
SECTIONS: dict[str, type[Any]] = {"scale": Scale, "layout": Layout, "wording": Wording, "pairwise": PairwiseWording}
PROFILE_SECTIONS: dict[str, type[Any]] = {"scale": Scale, "profile": JudgeProfile}
"""What a judge profile has instead: its question is one text, and its reply has sections of its own."""
NO_SECTIONS = Layout(analysis=False, refinement=False, guidelines=False)
KIND_OF_VALUE = {
    "str": "a text in quotes",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "list": "a list of [[dimensions]] tables",
}
"""How an error message calls what a key must hold."""


def parse_rubric(text: str, origin: str) -> Rubric:
    """Read a rubric from TOML text. `origin` (a file name) opens every error message."""
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{origin} is not valid TOML: {error}.") from error
    try:
        return _rubric(table)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from error


def load_rubric(source: str | Path) -> Rubric:
    """A built-in rubric by name (`generation`, `edit`), a shipped judge profile by name, or a TOML file by its path."""
    if str(source) in BUILT_IN:
        return _built_in(str(source))
    if str(source) in shipped_profiles():
        return _built_in(f"judges/{source}")
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a byte order mark before UTF-8
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"Rubric {str(source)!r} is neither built in ({', '.join((*BUILT_IN, *shipped_profiles()))}) nor a readable "
            f"TOML file: {error}."
        ) from error
    return parse_rubric(text, str(source))


@cache
def _built_in(name: str) -> Rubric:
    file = f"{name}.toml"
    text = resources.files(__package__).joinpath("prompts", *file.split("/")).read_text(encoding="utf-8")
    return parse_rubric(text, file)


@cache
def shipped_profiles() -> tuple[str, ...]:
    """Names of the judge profiles that come with the package, such as `skyjm-gen`."""
    files = resources.files(__package__).joinpath("prompts", "judges").iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def generation_rubric() -> Rubric:
    """Three dimensions: text faithfulness, physical and visual quality, text rendering."""
    return _built_in("generation")


def edit_rubric() -> Rubric:
    """Four dimensions: those of generation, and image faithfulness to the source."""
    return _built_in("edit")


def checkpoint_rubric(folder: Path, kind: Kind) -> Rubric | None:
    """The rubric a checkpoint folder carries (`rubric_generation.toml`, `rubric_edit.toml`), if it does."""
    path = folder / f"rubric_{kind}.toml"
    return load_rubric(path) if path.is_file() else None


def carried_rubrics(folder: Path) -> dict[Kind, Rubric]:
    """All rubrics that a checkpoint or adapter folder carries."""
    rubrics = {kind: checkpoint_rubric(folder, kind) for kind in BUILT_IN}
    return {kind: rubric for kind, rubric in rubrics.items() if rubric is not None}


def with_dimensions(base: Rubric, text: str, origin: str) -> Rubric:
    """`base` with the [[dimensions]] of a TOML text: a known key changes what the table names, a new key is added.

    Every mistake is a `ConfigError` that opens with `origin`.
    """
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{origin} is not valid TOML: {error}.") from error
    try:
        _only(table, {"dimensions"}, "this text")
        rows = table.get("dimensions", [])
        if not isinstance(rows, list):
            raise ConfigError("dimensions must be [[dimensions]] tables.")
        dimensions = {d.key: d for d in base.dimensions}
        for number, row in enumerate(rows, 1):
            own = dimensions.get(str(row.get("key"))) if isinstance(row, dict) else None
            changed = _dimension(row if own is None else {**_row(own), **row}, number)
            dimensions[changed.key] = changed
        return replace(base, dimensions=tuple(dimensions.values()))
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from error


def _row(dimension: Dimension) -> dict[str, Any]:
    """The table that gives a dimension back."""
    return {**vars(dimension), "anchors": {_level(level): text for level, text in dimension.anchors}}


def rubric_to_toml(rubric: Rubric) -> str:
    """Write a rubric so that `parse_rubric` gives it back."""
    lines = [f"name = {_toml(rubric.name)}", f"kind = {_toml(rubric.kind)}"]
    for section in SECTIONS if rubric.profile is None else PROFILE_SECTIONS:
        part = getattr(rubric, section)
        lines += ["", f"[{section}]", *(f"{f.name} = {_toml(getattr(part, f.name))}" for f in fields(part))]
    for dimension in rubric.dimensions:
        lines += ["", "[[dimensions]]"]
        lines += [f"{f.name} = {_toml(getattr(dimension, f.name))}" for f in fields(dimension) if f.name != "anchors"]
        if dimension.anchors:
            lines += [
                "[dimensions.anchors]",
                *(f'"{_level(level)}" = {_toml(text)}' for level, text in dimension.anchors),
            ]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    # JSON's strings, numbers and booleans are valid TOML, except for the unescaped DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _level(level: float) -> str:
    return str(int(level) if float(level).is_integer() else level)


def _rubric(table: dict[str, Any]) -> Rubric:
    sections = PROFILE_SECTIONS if "profile" in table else SECTIONS
    _only(table, {"name", "kind", "dimensions", *sections}, "a judge profile" if "profile" in table else "the file")
    name, kind = (_typed(table, key, str, "the file") for key in ("name", "kind"))
    rows = _typed(table, "dimensions", list, "the file")
    parts = {key: _section(cls, table.get(key, {}), key) for key, cls in sections.items()}
    if "profile" in parts:
        parts["layout"] = NO_SECTIONS
    return Rubric(name=name, kind=kind, dimensions=tuple(_dimension(row, i) for i, row in enumerate(rows, 1)), **parts)


def _dimension(row: Any, number: int) -> Dimension:
    where = f"dimensions[{number}]"
    if not isinstance(row, dict):
        raise ConfigError(f"{where} must be a table ([[dimensions]]).")
    anchors = row.get("anchors", {})
    if not isinstance(anchors, dict) or not all(isinstance(v, str) for v in anchors.values()):
        raise ConfigError(f"{where}.anchors must map scores to sentences.")
    try:
        levels = sorted(((float(k), v.strip()) for k, v in anchors.items()), reverse=True)
    except ValueError as error:
        raise ConfigError(f"{where}.anchors has a key that is not a number: {error}.") from error
    if len({level for level, _ in levels}) < len(levels):
        raise ConfigError(f"{where}.anchors names a score twice.")
    dimension: Dimension = _section(Dimension, {**row, "anchors": tuple(levels)}, where, required=("key", "title"))
    return dimension


def _section(cls: type[Any], table: Any, where: str, required: tuple[str, ...] = ()) -> Any:
    """Build a dataclass from a TOML table: unknown, missing and mistyped keys are named."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where} must be a table.")
    types_by_name = {f.name: str(f.type) for f in fields(cls)}
    _only(table, set(types_by_name), where)
    for key in required:
        _typed(table, key, str, where)
    types: dict[str, Any] = {"str": str, "bool": bool, "float": (int, float), "int": int}
    values: dict[str, Any] = {}
    for key, value in table.items():
        kind = types.get(types_by_name[key])
        if kind and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            raise ConfigError(f"{where}.{key} must be {KIND_OF_VALUE[types_by_name[key]]}, not {value!r}.")
        try:
            values[key] = float(value) if types_by_name[key] == "float" else value
        except OverflowError:
            raise ConfigError(f"{where}.{key} is too large a number.") from None
    return cls(**values)


def _only(table: dict[str, Any], keys: set[str], where: str) -> None:
    for key in table:
        if key not in keys:
            raise ConfigError(f"unknown key {key!r} in {where}; known keys are {', '.join(sorted(keys))}.")


def _typed(table: dict[str, Any], key: str, kind: type[Any], where: str) -> Any:
    if not isinstance(table.get(key), kind):
        raise ConfigError(f"{where} needs {key!r}, {KIND_OF_VALUE[kind.__name__]}.")
    return table[key]
