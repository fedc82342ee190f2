"""llama.cpp for tests: an environment of its own that has xllamacpp and gguf, and the miniature as GGUF files.

Looked for in LLAMA_CPP_ENVIRONMENT, then beside the tests' own environment, where `make test` puts it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from rationalrewards_core.miniature import scorer_folder

ROOT = Path(__file__).resolve().parents[1]
RUBRICS = ("rubric_generation.toml", "rubric_edit.toml")


def llama_python() -> Path:
    """The interpreter; skips the test, loudly, where there is none."""
    places = [os.environ.get("LLAMA_CPP_ENVIRONMENT", ""), str(ROOT / ".venv" / "llama")]
    for place in places:
        for name in ("bin/python", "Scripts/python.exe"):
            python = Path(place).expanduser().absolute() / name
            if place and python.exists() and _has_packages(python):
                return python
    pytest.skip("llama.cpp is not installed for the tests (LLAMA_CPP_ENVIRONMENT, or make test): NOT TESTED")


def write_miniature(folder: Path, python: Path) -> Path:
    """The shipped scorer as GGUF in 32-bit floats with its rubrics; the language model's path."""
    command = [str(python), "-m", "training.lab.miniature.gguf_files", str(scorer_folder()), str(folder)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    for name in RUBRICS:
        shutil.copy(scorer_folder() / name, folder / name)
    return Path(done.stdout.splitlines()[0])


def _has_packages(python: Path) -> bool:
    return (
        subprocess.run([str(python), "-c", "import gguf, xllamacpp"], capture_output=True, check=False).returncode == 0
    )
