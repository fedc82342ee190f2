"""Names: one class name for one thing, and values named by nouns.

Tests are left out of both counts: there a stand-in may bear the name of what it stands in for.
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("nodes", "rationalrewards_core", "training", "benchmarks")
PARTICIPLES = frozenset(
    [
        "found",
        "shown",
        "known",
        "said",
        "told",
        "asked",
        "chosen",
        "seen",
        "wanted",
        "given",
        "taken",
        "made",
        "kept",
        "drawn",
        "held",
        "done",
        "gone",
        "written",
        "sent",
        "named",
        "judged",
        "scored",
    ]
)
"""What says that something happened to a value and not what the value is."""
MOST_PER_THOUSAND = 2.0


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            yield file.relative_to(ROOT), ast.parse(file.read_text(encoding="utf-8"))


def assigned_names(tree: ast.AST) -> Iterator[str]:
    """Every name that a statement, a loop, a comprehension or a `with` gives a value, as often as it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def attribute_names(tree: ast.AST) -> Iterator[str]:
    """Every attribute that is given a value (`self._place = ...`), without the underscores before it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr.lstrip("_")


def parameter_names(tree: ast.AST) -> Iterator[str]:
    """Every parameter of every function, method and lambda."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            yield node.arg


def test_class_names_are_unique() -> None:
    files = defaultdict(list)
    for file, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                files[node.name].append(str(file))
    repeated = {name: where for name, where in files.items() if len(where) > 1}
    assert len(files) > 400
    assert not repeated


@pytest.mark.parametrize(
    ("names_of", "fewest"),
    [(assigned_names, 10_000), (parameter_names, 5_000), (attribute_names, 800)],
    ids=["assigned", "parameters", "attributes"],
)
def test_values_have_nouns_for_names(names_of: Callable[[ast.AST], Iterator[str]], fewest: int) -> None:
    names = Counter(name for _, tree in trees() for name in names_of(tree))
    participles = {name: count for name, count in names.items() if name in PARTICIPLES}
    share = 1000 * sum(participles.values()) / names.total()
    assert names.total() > fewest
    assert share < MOST_PER_THOUSAND, f"{share:.1f} of 1,000 names are participles: {participles}"
