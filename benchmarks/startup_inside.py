"""Runs inside ComfyUI's Python: loads a folder of custom nodes as ComfyUI does, and prints what it cost as JSON.

python startup_inside.py PACK SCRATCH
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from types import ModuleType

HEAVY = ("transformers", "diffusers", "peft", "bitsandbytes", "accelerate", "xgrammar", "numpy", "PIL", "aiohttp")
EMPTY_PACK = """
from comfy_api.latest import ComfyExtension

class Extension(ComfyExtension):
    async def get_node_list(self):
        return []

async def comfy_entrypoint():
    return Extension()
"""


async def main(pack: Path, scratch: Path) -> None:
    # ComfyUI reads its options while it is imported.
    sys.path.insert(0, os.getcwd())
    sys.argv[1:] = ["--cpu"]
    import_module("comfy.options").enable_args_parsing()
    nodes, server = import_module("nodes"), import_module("server")  # ComfyUI's, not ours
    server.PromptServer(asyncio.get_running_loop())
    empty = scratch / "empty_pack"
    empty.mkdir()
    (empty / "__init__.py").write_text(EMPTY_PACK)
    await timed(nodes, empty)  # whatever the first pack of all costs is not ours
    before = set(sys.modules)
    baseline = await timed(nodes, empty)
    ours = await timed(nodes, pack)
    added = {name.split(".")[0] for name in set(sys.modules) - before}
    names = [name for name in nodes.NODE_CLASS_MAPPINGS if name.startswith("RR_")]
    print(
        "STARTUP "
        + json.dumps({"empty": baseline, "pack": ours, "nodes": len(names), "heavy": sorted(added & set(HEAVY))})
    )


async def timed(nodes: ModuleType, pack: Path) -> tuple[float, float]:
    """(seconds, of which this process computed) in ComfyUI's own loader."""
    started, computed = time.perf_counter(), time.process_time()
    assert await nodes.load_custom_node(str(pack)), f"{pack} did not load"
    return time.perf_counter() - started, time.process_time() - computed


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
