"""The arrows between packages, read from every import statement: nodes -> core <- training."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
COMFY = {"comfy", "comfy_api", "comfy_execution", "comfy_extras", "folder_paths", "nodes", "server"}
HEAVY = {"torch", "transformers", "diffusers", "peft", "bitsandbytes", "accelerate", "xgrammar", "safetensors"}
MAY_NOT_IMPORT = {
    "rationalrewards_core": COMFY | {"training", "benchmarks", "tests"},
    "training": COMFY | {"tests"},
    "benchmarks": COMFY,  # those of the pack run the tests' real server
    "nodes": {"training", "benchmarks", "tests"},
}
LOADED_LATE = {"nodes/models/patcher.py"}
"""Modules with heavy imports at their top, which is why nothing imports them at its own top."""
CORE_LAYERS = [
    ["errors", "limits", "shared_calls", "spelling", "numerals", "quotation", "thinking", "control_tokens"],
    ["storage", "config_file"],
    ["file_lock"],
    ["jsonl"],
    ["headings", "pixels", "judge_profile"],
    ["rubric"],
    ["reply_layout"],
    ["rubric_file", "messages", "critique"],
    ["reward", "rewording", "images", "servers"],
    ["picture_grid", "managed", "server_entries", "gguf", "hub"],
    ["replies"],
    ["free_lines", "grammar", "comparison", "backends"],
    ["probabilities", "memo", "round_robin"],
    ["judged", "finished_reply", "scorer_settings"],
    ["interviewer"],
    ["scorer"],
    ["rubric_writing"],
    ["serving", "loop"],
    ["report", "miniature"],
    ["engine_kinds"],
    ["engines", "generators"],
    ["doctor_case", "one_call"],
    ["doctor"],
    ["cli"],
]
"""Modules of the core, lowest first: none imports a module of a later line."""


TRAINING_FLOORS = [
    ["settings", "pace", "figures", "contact_sheet", "left_out"],
    ["live_page", "run_settings", "sharding"],
    ["run"],
    ["data"],
    ["rewards"],
    ["parrot", "evaluate", "sft"],
    ["nft"],
    ["personal"],
    ["lab"],
]
"""Rooms of training, lowest first: none imports from a later line, nor from another of its own line."""


def imports(file: Path, *, module_level: bool = False) -> Iterator[tuple[str, ...]]:
    """Dotted parts of everything a file imports; relative imports are resolved."""
    parents = file.relative_to(ROOT).parent.parts
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in tree.body if module_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = parents[: len(parents) - node.level + 1] if node.level else ()
            stem = (*base, *(node.module.split(".") if node.module else ()))
            yield from ((*stem, alias.name) for alias in node.names)


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", MAY_NOT_IMPORT)
def test_packages_point_the_right_way(package: str) -> None:
    assert files(package)
    for file in files(package):
        broken = {parts[0] for parts in imports(file)} & MAY_NOT_IMPORT[package]
        assert not broken, f"{file.relative_to(ROOT)} imports {sorted(broken)}"


def test_core_layers() -> None:
    rank = {module: level for level, row in enumerate(CORE_LAYERS) for module in row}
    root = ROOT / "rationalrewards_core"
    for file in files("rationalrewards_core"):
        own = file.relative_to(root).parts[0].removesuffix(".py")
        if own.startswith("__"):
            continue
        assert own in rank, f"{own} is not in CORE_LAYERS; say where it belongs"
        for parts in imports(file):
            if parts[0] == "rationalrewards_core" and len(parts) > 1 and parts[1] in rank:
                assert rank[parts[1]] <= rank[own], f"{file.relative_to(ROOT)} imports the higher {parts[1]}"


def test_training_floors() -> None:
    floor = {room: level for level, row in enumerate(TRAINING_FLOORS) for room in row}
    for file in files("training"):
        own = file.relative_to(ROOT / "training").parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        assert own in floor, f"{own} is not in TRAINING_FLOORS; say where it belongs"
        rooms = {parts[1] for parts in imports(file) if parts[0] == "training" and len(parts) > 1} & set(floor)
        broken = [room for room in rooms - {own} if floor[room] >= floor[own]]
        assert not broken, f"{file.relative_to(ROOT)} imports {sorted(broken)}"


def test_training_names_itself_relatively() -> None:
    """It is installed under another name than it has in a checkout."""
    for file in files("training"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            assert not any(name.split(".")[0] in {"training", "rationalrewards_training"} for name in names), file


def test_every_package_is_installed() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        setup = tomllib.load(file)["tool"]["setuptools"]
    folders = {
        ".".join(file.relative_to(ROOT).parent.parts)
        for root in ("rationalrewards_core", "training")
        for file in files(root)
    }
    names = {("rationalrewards_" + name if name.split(".")[0] == "training" else name) for name in folders}
    assert set(setup["packages"]) == names
    assert setup["package-dir"] == {"rationalrewards_training": "training"}


@pytest.mark.parametrize("package", ["rationalrewards_core", "nodes"])
def test_the_pack_uses_relative_imports(package: str) -> None:
    """ComfyUI loads the pack under its file path: the absolute name would import the core a second time."""
    for file in files(package):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            assert not any(name.split(".")[0] == "rationalrewards_core" for name in names), file


@pytest.mark.parametrize("package", ["rationalrewards_core", "nodes"])
def test_heavy_packages_are_imported_inside_functions(package: str) -> None:
    late = {Path(name).with_suffix("").parts for name in LOADED_LATE}
    for file in files(package):
        if file.relative_to(ROOT).as_posix() in LOADED_LATE:
            continue
        tops = list(imports(file, module_level=True))
        assert not [parts for parts in tops if parts[:2] in late], f"{file.relative_to(ROOT)} imports it at its top"
        broken = {parts[0] for parts in tops} & HEAVY
        assert not broken, f"{file.relative_to(ROOT)} imports {sorted(broken)} at its top"
