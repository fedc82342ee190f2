"""What a loop costs that was made before, on a real server: one more iteration, and the same after a restart.

    python -m benchmarks.loop_replay            needs a ComfyUI (COMFYUI_PATH); about five minutes
    python -m benchmarks.loop_replay --memory   resident memory over 100 iterations of 1024 x 1024, and their replay

The body sleeps, as a sampler would take its time; whatever is more than the bodies made is the loop's and the engine's own.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from benchmarks.loop_overhead import megabytes
from benchmarks.timing import table
from tests.comfy.comfy_client import Client, Prompt
from tests.comfy.comfy_server import CACHE_MODES, Comfy, ComfyServer, find_comfy
from tests.comfy.graphs import loop, making

SECONDS, SIZE, GRAIN = 3.0, 512, 0.02
MANY = (20, 60, 100)


def looped(iterations: int, seconds: float = SECONDS, size: int = SIZE) -> Prompt:
    generates = {"seconds": seconds, "size": size, "grain": GRAIN}
    return loop("0.1", request="a slow cat", generates=generates, max_iterations=iterations, patience=iterations)


def timed(client: Client, iterations: int) -> str:
    """Seconds of a run and how many bodies it made."""
    started = time.perf_counter()
    _, count = making(client, looped(iterations))
    return f"{time.perf_counter() - started:.1f} s, {count}"


def measured(comfy: Comfy, mode: str) -> list[object]:
    with tempfile.TemporaryDirectory() as folder:
        server = ComfyServer(comfy, Path(folder), CACHE_MODES[mode])
        try:
            client = Client(server.address)
            first, again = timed(client, 6), timed(client, 7)
            server.stop()
            server.start()
            return [mode, first, again, timed(client, 8), timed(client, 8)]
        finally:
            server.stop()


def memory(comfy: Comfy) -> list[list[object]]:
    """Resident MB after loops of more and more iterations, each made on from the one before, and replayed."""
    with tempfile.TemporaryDirectory() as folder:
        server = ComfyServer(comfy, Path(folder))
        try:
            client = Client(server.address)
            rows: list[list[object]] = []
            for iterations in (*MANY, MANY[-1]):
                count = making(client, looped(iterations, 0.0, 1024))[1]
                rows.append([iterations, count, megabytes(server.process_id)])
            return rows
        finally:
            server.stop()


def run(*options: str) -> str:
    comfy = find_comfy()
    if isinstance(comfy, str):
        return comfy
    if "--memory" in options:
        return table(["iterations", "made", "resident MB"], memory(comfy))
    modes = [mode for mode in CACHE_MODES if mode != "classic" or not comfy.keeps_copies]
    columns = ["cache", "6 iterations", "7 iterations", "8 after a restart", "8 again"]
    return f"bodies of {SECONDS:g} s: seconds, bodies made\n\n" + table(
        columns, [measured(comfy, mode) for mode in modes]
    )


if __name__ == "__main__":
    print(run(*sys.argv[1:]))
