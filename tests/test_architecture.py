"""The architecture page: its file tree is the tree, and the places it sends a reader to are there.

python -m tests.test_architecture      writes the tree anew from the files' first sentences
"""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
HEADING = "## Rooms\n"
PACKAGES = ("rationalrewards_core", "nodes", "training")
LONGEST = 110
"""Characters of a line of the tree."""
MOST_FILES = 5


def tree() -> str:
    """Every module of the three packages with the first sentence of its docstring."""
    blocks = []
    for package in PACKAGES:
        listing = subprocess.run(
            ["git", "ls-files", f"{package}/*.py"], cwd=ROOT, check=True, capture_output=True, text=True
        )
        files = sorted(Path(line) for line in listing.stdout.splitlines() if (ROOT / line).exists())
        blocks.append("\n".join(line for file in files if (line := entry(file))))
    return "\n".join(f"### {name}\n\n```\n{block}\n```\n" for name, block in zip(PACKAGES, blocks, strict=True))


def entry(file: Path) -> str:
    """`folder/` for a package and `  module` below it, each with its sentence; empty for an `__init__` without one."""
    sentence = (ast.get_docstring(ast.parse((ROOT / file).read_text(encoding="utf-8"))) or "").split("\n\n")[0]
    depth = len(file.parts) - 1
    is_package = file.name == "__init__.py"
    name = f"{file.parent.name}/" if is_package else file.stem
    indent = "  " * (depth - 1 if is_package else depth)
    line = f"{indent}{name:<{max(1, 26 - len(indent))}} {' '.join(sentence.split())}".rstrip()
    return line if len(line) <= LONGEST else line[: LONGEST - 2].rsplit(" ", 1)[0].rstrip(" ,;:") + " …"


def test_the_tree_is_the_tree() -> None:
    written = PAGE.read_text(encoding="utf-8").partition(HEADING)[2].strip()
    assert written == tree().strip(), "run python -m tests.test_architecture"


def test_every_change_lives_in_few_files_that_are_there() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("## To change X, edit Y")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:4] for line in table.splitlines() if line.startswith("| ")][2:]
    assert len(rows) >= 11
    for change, places, signs in rows:
        names = re.findall(r"`((?:rationalrewards_core|nodes|training|web|pyproject)[\w./-]*)`", places)
        assert 1 <= len(names) <= MOST_FILES, change
        for name in names + re.findall(r"`(tests/[\w./-]+)`", signs):
            assert (ROOT / name).exists(), f"{change.strip()}: {name}"


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8").partition(HEADING)[0]
    PAGE.write_text(f"{page}{HEADING}\n{tree()}", encoding="utf-8")
