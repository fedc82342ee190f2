"""Probes: short programs that run inside a real ComfyUI's Python, without its server, and print what they saw as JSON."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.comfy.comfy_server import Comfy

PROBES = Path(__file__).parent / "probes"
SECONDS = 420
"""Importing torch takes a minute on a busy machine."""


def run_probe(comfy: Comfy, name: str, folder: Path) -> dict[str, Any]:
    """Run `probes/NAME.py` in ComfyUI's tree; `folder` is its own to write in. AssertionError with its log if it fails."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(comfy.folder), str(PROBES)]),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "APPDATA": str(folder / "config"),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    ended = subprocess.run(
        [str(comfy.python), str(PROBES / f"{name}.py"), str(folder)],
        cwd=comfy.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    lines = [line for line in ended.stdout.splitlines() if line.startswith("PROBE ")]
    log = f"probe {name} failed:\n{ended.stdout[-2000:]}\n{ended.stderr[-6000:]}"
    assert ended.returncode == 0, log
    assert lines, log
    seen: dict[str, Any] = json.loads(lines[-1].removeprefix("PROBE "))
    return seen
