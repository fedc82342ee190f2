"""Names: one class name for one thing.

Tests are left out: there a stand-in may bear the name of what it stands in for.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("nodes", "rationalrewards_core", "training", "benchmarks")


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            yield file.relative_to(ROOT), ast.parse(file.read_text(encoding="utf-8"))


def test_class_names_are_unique() -> None:
    files = defaultdict(list)
    for file, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                files[node.name].append(str(file))
    repeated = {name: where for name, where in files.items() if len(where) > 1}
    assert len(files) > 400
    assert not repeated
