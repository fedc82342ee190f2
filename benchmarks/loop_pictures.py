"""What the pack's own nodes cost per iteration of a loop over 1024 x 1024 pictures, on a real server.

    python -m benchmarks.loop_pictures      needs a ComfyUI (COMFYUI_PATH)

Images lie in memory as a VAE leaves them (channels first), or as the core's loader of files does (channels last).
The judge answers at once, so what is counted is CPU time of this pack alone: turning tensors into pictures, saving them
for cards and history, telling the page. Time of the generator and of the engine is not in it.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.timing import table
from tests.comfy.comfy_client import Client, Prompt
from tests.comfy.comfy_server import PACK, Comfy, ComfyServer, find_comfy
from tests.comfy.graphs import generator, start, until

ITERATIONS, ROUNDS, SIZE, GRAIN = 12, 3, 1024, 0.02


Spent = dict[str, float]
LAYOUTS = {"channels first": True, "channels last": False}


def looped(request: str, planes: bool) -> Prompt:
    """A critique and a rewording per iteration; no iteration is ever good enough."""
    return {
        "start": start(request),
        "gen": generator("start", size=SIZE, grain=GRAIN, planes=planes),
        "scorer": {"class_type": "RRTest_Scorer", "inputs": {}},
        "critic": {
            "class_type": "RR_RationalCritique",
            "inputs": {"scorer": ["scorer", 0], "image": ["gen", 0], "prompt": ["start", 4]},
        },
        "refine": {
            "class_type": "RR_PromptRefine",
            "inputs": {
                "critique": ["critic", 0],
                "prompt": ["start", 0],
                "style": "full rewrite",
                "minimum": 3.0,
                "minimums": "",
                "trigger_words": "",
                "prefix": "",
                "suffix": "",
                "max_length": 1500,
                "index": -1,
            },
        },
        "end": until(
            "start",
            image=["gen", 0],
            critique=["critic", 0],
            refined_prompt=["refine", 0],
            max_iterations=ITERATIONS,
            patience=ITERATIONS,
        ),
    }


def spent(client: Client) -> Spent:
    """Milliseconds per node class since the last call."""
    run = client.run({"meter": {"class_type": "RRTest_Meter", "inputs": {}}})
    return dict(json.loads(run.text("meter")))


def measured(comfy: Comfy, pack: Path = PACK) -> tuple[dict[str, list[Spent]], int, float]:
    """(per layout milliseconds per class and iteration of each round, bytes of events of a loop, MB of files of a loop)."""
    with tempfile.TemporaryDirectory() as folder:
        server = ComfyServer(comfy, Path(folder), pack=pack)
        try:
            client = Client(server.address)
            spent(client)
            rounds: dict[str, list[Spent]] = {name: [] for name in LAYOUTS}
            count, files = 0, 0.0
            for number in range(ROUNDS + 1):  # the first one warms up
                for name, planes in LAYOUTS.items():
                    before = _disk(server.temp)
                    run = client.run(looped(f"a cat, round {number}, {name}", planes))
                    assert run.error == "", run.error
                    rounds[name].append({part: value / ITERATIONS for part, value in spent(client).items()})
                    count = run.told
                    files = (_disk(server.temp) - before) / 1e6
        finally:
            server.stop()
    return {name: each[1:] for name, each in rounds.items()}, count, files


def _disk(folder: Path) -> int:
    """Bytes below a folder; a file that has two names counts once."""
    sizes = {file.stat().st_ino: file.stat().st_size for file in folder.rglob("*") if file.is_file()}
    return sum(sizes.values())


def run() -> str:
    comfy = find_comfy()
    if isinstance(comfy, str):
        return comfy
    rounds, count, files = measured(comfy)
    names = sorted({name for each in rounds.values() for one in each for name, value in one.items() if value >= 0.005})
    rows: list[list[Any]] = [
        [name, *(statistics.median(one.get(name, 0.0) for one in each) for each in rounds.values())] for name in names
    ]
    rows.append(["together", *(statistics.median(sum(one.values()) for one in each) for each in rounds.values())])
    return (
        f"ComfyUI {'.'.join(map(str, comfy.version))}, {ITERATIONS} iterations of {SIZE} x {SIZE}, median of {ROUNDS}\n\n"
        f"{table(['CPU ms per iteration', *rounds], rows)}\n\n"
        f"events of a loop: {count / 1e3:.1f} kB; files of a loop: {files:.1f} MB"
    )


if __name__ == "__main__":
    print(run())
