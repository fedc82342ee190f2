"""What importing costs: nothing heavy, nothing written, nothing fetched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "transformers", "diffusers", "peft", "bitsandbytes", "xgrammar", "accelerate", "huggingface_hub")


def run(code: str, *, cwd: Path = ROOT) -> str:
    command = [sys.executable, "-B", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd).stdout


EVERYTHING = """
import importlib, pkgutil
import rationalrewards_core as core
for module in pkgutil.walk_packages(core.__path__, "rationalrewards_core."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
for name in core.__all__:
    getattr(core, name)
"""


def test_importing_every_module_of_the_core_imports_nothing_heavy() -> None:
    assert run(f"{EVERYTHING}\nprint([m for m in {HEAVY} if m in sys.modules])") == "[]\n"


def test_importing_writes_nothing(tmp_path: Path) -> None:
    run(EVERYTHING, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_needs_no_image_library_and_no_network_library(argument: str) -> None:
    code = f"""
from rationalrewards_core.__main__ import main
try:
    main([{argument!r}])
except SystemExit:
    pass
print([m for m in ("PIL", "numpy", "aiohttp", "torch") if m in sys.modules])
"""
    assert run(code).endswith("[]\n")
