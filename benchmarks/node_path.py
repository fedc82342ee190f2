"""What Rational Critique takes in a real ComfyUI, beside another tree of this pack: the same pictures, in turn, in one run.

    git worktree add /tmp/before a39d3e7
    OMP_NUM_THREADS=1 python -m benchmarks.node_path /tmp/before [--pictures 16]      needs a ComfyUI (COMFYUI_PATH)

Both packs judge by the miniature as they are shipped. Seconds are the servers' CPU time of prompts whose pictures were
drawn before, so what the nodes and the server take besides is in them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.loop_overhead import busy
from benchmarks.timing import table
from tests.comfy.comfy_client import Client, Prompt
from tests.comfy.comfy_server import PACK, ComfyServer, find_comfy

REQUEST = "a large red circle and a small blue square"


class JudgingServer:
    """A ComfyUI with one tree of the pack, and the CPU time that its critiques took."""

    def __init__(self, server: ComfyServer) -> None:
        self._server, self._client = server, Client(server.address)
        self.seconds = 0.0

    def judge(self, seed: int, pictures: int) -> None:
        """Pictures that this server has not seen, all at once."""
        prompt = judging(seed, pictures)
        drawing = {"drawn": prompt["drawn"], "seen": {"class_type": "PreviewImage", "inputs": {"images": ["drawn", 0]}}}
        assert self._client.run(drawing).error == ""
        before = busy(self._server.process_id)
        run = self._client.run(prompt)
        assert run.error == "", run.error
        assert "drawn" in run.cached
        self.seconds += busy(self._server.process_id) - before


def judging(seed: int, pictures: int) -> Prompt:
    drawn: dict[str, Any] = {
        "prompt": REQUEST,
        "seed": seed,
        "batch_size": pictures,
        "scale": 1,
        "method": "draw",
        "edit": "",
    }
    scorer = {"engine": "miniature", "rubric": "automatic", "memory": "keep loaded"}
    return {
        "drawn": {"class_type": "RR_MiniatureGenerate", "inputs": drawn},
        "scorer": {"class_type": "RR_LoadScorer", "inputs": scorer},
        "critic": {
            "class_type": "RR_RationalCritique",
            "inputs": {"scorer": ["scorer", 0], "image": ["drawn", 0], "prompt": REQUEST},
        },
    }


def measured(servers: dict[str, ComfyServer], batch: int, pictures: int) -> list[list[object]]:
    """A row for each tree: name, batch, CPU ms per picture, that over the first tree's."""
    judges = {name: JudgingServer(server) for name, server in servers.items()}
    for judge in judges.values():  # weights, grammar and shapes are loaded once
        judge.judge(900_000 + batch, batch)
        judge.seconds = 0.0
    for start in range(0, pictures, batch):
        for judge in judges.values():
            judge.judge(10_000 * batch + start, batch)
    base = next(iter(judges.values())).seconds
    return [[name, batch, 1000 * judge.seconds / pictures, judge.seconds / base] for name, judge in judges.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="folder of the tree that this one is compared with")
    parser.add_argument("--pictures", type=int, default=16)
    options = parser.parse_args()
    comfy = find_comfy()
    if isinstance(comfy, str):
        raise SystemExit(comfy)
    os.environ.pop("PYTHONPATH", None)  # each server has the pack of its own tree
    with ExitStack() as stack:
        servers = {}
        for name, pack in (("other", options.other.resolve()), ("this", PACK)):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            servers[name] = ComfyServer(comfy, folder, pack=pack)
            stack.callback(servers[name].stop)
        rows = [row for batch in (1, 8) for row in measured(servers, batch, options.pictures)]
    print(table(["tree", "pictures at once", "CPU ms per picture", "to other"], rows))


if __name__ == "__main__":
    main()
