"""What a node's outputs depend on, as one text: nodes with the same key make the same, today and after a restart.

Like the core's cache keys, and with what outlives a process: model files by size and time, a class by the file of its
code. What cannot be known (a node that wants to run every time, an object that is neither text nor number) has no key,
and neither has anything that depends on it.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import os
import sys
from collections.abc import Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from .ends import CLOSE_CLASS, OPEN_CLASS
from .graph import PromptGraph, is_link

Key: TypeAlias = "str | None"
"""Same key, same outputs; None where that cannot be known."""

LONGEST_NAME = 255
MOST_FILES = 1000
"""Files of a model folder that are looked at."""


def digest(value: Any) -> Key:
    """SHA-256 of a JSON value, 32 hexadecimal digits; None for what JSON cannot hold, and for NaN."""
    try:
        text = json.dumps(value, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError):
        return None
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class GraphKeys:
    """The keys of one prompt's nodes. What one Loop Start gives out is told, and not looked up: it changes per iteration."""

    def __init__(self, prompt: PromptGraph, prompt_id: str | None, open_id: str, changing: frozenset[str]) -> None:
        """`changing` are the nodes that depend on the Loop Start `open_id`."""
        self._prompt, self._prompt_id, self._open, self._changing = prompt, prompt_id, open_id, changing
        self._steady: dict[str, Key] = {}
        self._own: dict[str, Key] = {}
        self._files = FileMarks()

    def value(self, value: Any, start_keys: Mapping[int, Key]) -> Key:
        """The key of an input: of a literal, or of what its wire brings. `start_keys` has the keys of Loop Start's outputs."""
        return self._value(value, start_keys, {})

    def _value(self, value: Any, start_keys: Mapping[int, Key], memo: dict[str, Key]) -> Key:
        if not is_link(value):
            return digest([value, self._files.of(value)])
        if value[0] == self._open:
            return start_keys.get(int(value[1]))
        key = self._node(value[0], start_keys, memo)
        return None if key is None else f"{key}.{int(value[1])}"

    def _node(self, node_id: str, start_keys: Mapping[int, Key], memo: dict[str, Key]) -> Key:
        keys = memo if node_id in self._changing else self._steady
        if node_id not in keys:
            keys[node_id] = self._derived_key(node_id, start_keys, memo)
        return keys[node_id]

    def _derived_key(self, node_id: str, start_keys: Mapping[int, Key], memo: dict[str, Key]) -> Key:
        if node_id not in self._own:
            self._own[node_id] = self._own_key(node_id)
        own = self._own[node_id]
        if own is None:
            return None
        inputs = self._prompt.get_node(node_id)["inputs"]
        keys = {name: self._value(value, start_keys, memo) for name, value in inputs.items()}
        return None if None in keys.values() else digest([own, keys])

    def _own_key(self, node_id: str) -> Key:
        """Of the node without its inputs. Another loop's end may have been stopped or overruled: it has none."""
        from comfy_execution.caching import include_unique_id_in_input

        import nodes  # ComfyUI's own

        class_type = self._prompt.get_node(node_id)["class_type"]
        if class_type == CLOSE_CLASS:
            return None
        node_class = nodes.NODE_CLASS_MAPPINGS[class_type]
        changed = None if class_type == OPEN_CLASS else self._changed(node_id, node_class)
        own_memory = getattr(node_class, "NOT_IDEMPOTENT", False) or include_unique_id_in_input(class_type)
        name = node_id if own_memory else ""  # the core, too, takes two equal nodes of such a class for different ones
        return None if _has_nan(changed) else digest([class_type, changed, name, code_mark(node_class.__module__)])

    def _changed(self, node_id: str, node_class: Any) -> Any:
        """What the core asks a node to tell whether its files have changed; NaN if it cannot be asked here."""
        from execution import IsChangedCache  # ComfyUI's own

        methods = [getattr(node_class, name, None) for name in ("IS_CHANGED", "fingerprint_inputs")]
        if any(inspect.iscoroutinefunction(one) for one in methods):
            return math.nan
        asking = IsChangedCache(self._prompt_id, self._prompt, None).get(node_id)
        try:
            asking.send(None)
        except StopIteration as answer:
            return answer.value
        asking.close()
        return math.nan


class FileMarks:
    """Size and time of what a text names in ComfyUI's folders of models and inputs."""

    def __init__(self) -> None:
        self._rows: dict[str, list[list[Any]]] = {}

    def of(self, value: Any) -> list[list[Any]]:
        """One row per file or folder of that name; none for a text that names nothing."""
        if not isinstance(value, str) or len(value) > LONGEST_NAME or not _may_be_a_name(value):
            return []
        if value not in self._rows:
            self._rows[value] = [mark for folder in self._folders for mark in _marks(os.path.join(folder, value))]
        return self._rows[value]

    @property
    def _folders(self) -> list[str]:
        import folder_paths

        roots = [path for paths, *_ in folder_paths.folder_names_and_paths.values() for path in paths]
        return list(dict.fromkeys([*roots, folder_paths.get_input_directory()]))


def _may_be_a_name(value: str) -> bool:
    return value.strip("./\\ ") != "" and ".." not in value and value.isprintable()


def _marks(path: str) -> list[list[Any]]:
    try:
        if not os.path.isdir(path):
            return [_mark(path)]
        files = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
        return sorted(_mark(file) for file in islice(files, MOST_FILES))
    except OSError:
        return []


def _mark(path: str) -> list[Any]:
    stat = os.stat(path)
    return [os.path.basename(path), stat.st_size, stat.st_mtime_ns]


@cache
def code_mark(module: str) -> str:
    """Changes with the code of a node's class: by its file, for the pack's own nodes by all of its files."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return ""
    pack = Path(__file__).parents[2]
    if Path(file).is_relative_to(pack / "nodes"):
        return _pack_mark(pack)
    stat = os.stat(file)
    return f"{_comfy_version()} {stat.st_size} {stat.st_mtime_ns}"


@cache
def _pack_mark(pack: Path) -> str:
    files = sorted(file for part in ("rationalrewards_core", "nodes") for file in (pack / part).rglob("*"))
    marks = [
        (file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.suffix not in (".pyc", "")
    ]
    return str(digest(marks))


def _comfy_version() -> str:
    try:
        from comfyui_version import __version__  # ComfyUI's own
    except ImportError:
        return ""
    return str(__version__)


def _has_nan(value: Any) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    return isinstance(value, list | tuple) and any(map(_has_nan, value))
