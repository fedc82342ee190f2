"""What every probe starts with: ComfyUI's core on the CPU, and the pack loaded the way ComfyUI loads it."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

PACK = Path(__file__).resolve().parents[3]
FOLDER = Path(sys.argv[1])
"""The probe's own folder."""

sys.argv = [sys.argv[0], "--cpu"]
import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()
spec = importlib.util.spec_from_file_location("rr_pack", PACK / "__init__.py", submodule_search_locations=[str(PACK)])
assert spec is not None
assert spec.loader is not None
rr_pack = importlib.util.module_from_spec(spec)
sys.modules["rr_pack"] = rr_pack
spec.loader.exec_module(rr_pack)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """As ComfyUI runs a node: in an event loop, in inference mode."""
    import torch

    with torch.inference_mode():
        return asyncio.run(work)


def report(seen: dict[str, Any]) -> None:
    print("PROBE " + json.dumps(seen))


def drawn(text: str, seed: int = 0) -> Any:
    """A clean picture of the miniature's world that shows what `text` asks for."""
    import numpy as np
    from PIL import Image
    from rr_pack.rationalrewards_core.miniature.render import place, render
    from rr_pack.rationalrewards_core.miniature.truth import PictureContent
    from rr_pack.rationalrewards_core.miniature.world import parse_request

    rng = np.random.default_rng(seed)
    content = parse_request(text)
    return Image.fromarray(render(rng, PictureContent(content), place(rng, content)).picture)


def sentence(error: BaseException) -> str:
    """How ComfyUI shows an error on a node."""
    return f"{type(error).__name__}: {error}"
