"""How busy the pipeline keeps a teacher: the share of the server's slots that are worked while a stage runs.

The synthetic teacher, a process of its own, has a number of slots and a stated latency, like a model server with so many
sequences at once. Measured by the server itself, from its first question to its last answer, start and drain included.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks.timing import table

SLOTS, LATENCY = 8, 4.0


def run(pairs: int = 100, slots: int = SLOTS, latency: float = LATENCY) -> str:
    """Rationales of `pairs` pairs in both orders, by the number of requests under way for each slot."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _command("import", "miniature", "--run", str(folder / "run"), "--count", str(pairs))
        for ratio in (1.0, 1.5):
            rows.append([ratio, *_measured(folder, ratio, slots, latency)])
    return table(["requests per slot", "busy", "answers", "answers/s", "ideal/s", "ratio to ideal"], rows)


def _measured(folder: Path, ratio: float, slots: int, latency: float) -> list[Any]:
    port = _free_port()
    arguments = ["--port", str(port), "--slots", str(slots), "--latency", str(latency), "--sound"]
    teacher = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "training.lab.teacher", *arguments], stdout=subprocess.DEVNULL, env=_environment()
    )
    try:
        _wait(port)
        config = folder / "config.toml"
        config.write_text(
            f'[servers.teacher]\nurl = "http://127.0.0.1:{port}/v1"\nconcurrency = {round(slots * ratio)}\n'
        )
        for old in folder.glob("run/rationales*"):
            old.unlink()
        _command("rationalize", "--run", str(folder / "run"), "--teacher", "teacher", "--config", str(config))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/busy") as answer:
            table = json.load(answer)
    finally:
        teacher.terminate()
        teacher.wait(20)
    line = json.loads((folder / "run" / "log.jsonl").read_text().splitlines()[-1])
    rate, ideal = table["answered"] / line["seconds"], slots / latency
    return [f"{100 * table['busy']:.1f} %", table["answered"], rate, ideal, rate / ideal]


def _command(*words: str) -> None:
    command = [sys.executable, "-m", "training.parrot", *words]
    subprocess.run(command, check=True, capture_output=True, env=_environment())  # noqa: S603


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(port: int) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("the teacher did not come up")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--slots", type=int, default=SLOTS)
    parser.add_argument("--latency", type=float, default=LATENCY)
    arguments = parser.parse_args()
    print(run(arguments.pairs, arguments.slots, arguments.latency))
