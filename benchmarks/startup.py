"""The pack's share of ComfyUI's start: seconds in ComfyUI's own loader, in a fresh process each time.

python -m benchmarks.startup            needs a ComfyUI (COMFYUI_PATH)
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.timing import table
from tests.comfy.comfy_server import PACK, Comfy, find_comfy

INSIDE = Path(__file__).with_name("startup_inside.py")


def measured(comfy: Comfy) -> dict[str, Any]:
    """One start, with byte code kept beside the sources as a user's Python does, whatever this shell's wish is."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as scratch:
        command = [str(comfy.python), str(INSIDE), str(PACK), scratch]
        ended = subprocess.run(command, cwd=comfy.folder, env=environment, capture_output=True, text=True)  # noqa: S603
    line = next((line for line in ended.stdout.splitlines() if line.startswith("STARTUP ")), None)
    if line is None:
        raise RuntimeError(f"the pack did not load:\n{ended.stdout[-2000:]}\n{ended.stderr[-3000:]}")
    table: dict[str, Any] = json.loads(line.removeprefix("STARTUP "))
    return table


def milliseconds(runs: list[dict[str, Any]], name: str) -> list[float]:
    """Median and best of the wall clock, then of the processor's, which other programs disturb less."""
    walls, computed = zip(*(row[name] for row in runs), strict=True)
    return [1000 * value for times in (walls, computed) for value in (statistics.median(times), min(times))]


def run(rounds: int = 3) -> str:
    comfy = find_comfy()
    if isinstance(comfy, str):
        return comfy
    measurements = [measured(comfy) for _ in range(rounds + 1)][1:]  # the first writes the byte code
    version = ".".join(map(str, comfy.version))
    rows = [[f"{name} (ComfyUI {version})", *milliseconds(measurements, name)] for name in ("empty", "pack")]
    loaded = f"{measurements[0]['nodes']} nodes; heavy packages first imported by this pack: {measurements[0]['heavy'] or 'none'}"
    return table(["custom nodes", "ms (median)", "best", "CPU ms (median)", "best"], rows) + f"\n\n{loaded}"


if __name__ == "__main__":
    print(run())
