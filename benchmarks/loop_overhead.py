"""What the loop itself costs on a real server: 60 iterations over a trivial body.

    python -m benchmarks.loop_overhead      needs a ComfyUI (COMFYUI_PATH)

The body makes a 16 x 16 picture, judges it by a script and previews it as PNG, so nearly all the time is the engine's,
the loop's and the previews'. The reference while-loop of ComfyUI's own test nodes took 91 s for the same 60 iterations
(ids of 10,621 characters), short ids with tensors carried along took 10 s.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.timing import table
from tests.comfy.comfy_client import Client
from tests.comfy.comfy_server import CACHE_MODES, Comfy, ComfyServer, find_comfy
from tests.comfy.graphs import loop

WARM_UP, MANY = 5, 60


def megabytes(process_id: int) -> float:
    """Resident memory of a process (Linux)."""
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def busy(process_id: int) -> float:
    """Seconds of CPU that a process has used (Linux); other programs on the machine do not count."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def looped(client: Client, iterations: int, request: str) -> tuple[float, int, int]:
    """(seconds, longest node id, how often the body ran) of one loop to its end."""
    prompt = loop("0.1", request=request, max_iterations=iterations, patience=iterations)
    started = time.perf_counter()
    run = client.run(prompt)
    seconds = time.perf_counter() - started
    assert run.error == "", run.error
    return seconds, max(map(len, run.ran)), run.times("gen")


def measured(comfy: Comfy, mode: str, arguments: Sequence[str]) -> list[object]:
    with tempfile.TemporaryDirectory() as folder:
        server = ComfyServer(comfy, Path(folder), arguments)
        try:
            client = Client(server.address)
            looped(client, WARM_UP, "a warm cat")
            few = megabytes(server.process_id)
            before = busy(server.process_id)
            seconds, longest, ran = looped(client, MANY, "a hot cat")
            computing = busy(server.process_id) - before
            many = megabytes(server.process_id)
        finally:
            server.stop()
    assert ran == MANY
    return [mode, seconds, computing, longest, few, many, many - few]


def run() -> str:
    comfy = find_comfy()
    if isinstance(comfy, str):
        return comfy
    heads = [
        "cache",
        f"s, {MANY} iterations",
        "CPU s of the server",
        "longest id",
        f"MB after {WARM_UP}",
        f"MB after {MANY}",
        "grown by, MB",
    ]
    rows = [measured(comfy, mode, arguments) for mode, arguments in CACHE_MODES.items() if mode in ("default", "none")]
    return f"ComfyUI {'.'.join(map(str, comfy.version))}\n\n{table(heads, rows)}"


if __name__ == "__main__":
    print(run())
