"""A GGUF judge as a server that is started here, with pictures made as the transformers engine makes them."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from ..errors import ConfigError
from ..picture_grid import PictureGrid
from ..servers import KEY, PORT, ServerConfig
from .header import GgufHeader
from .pairs import GgufPair, pair
from .tower_grid import MOST_PIXELS, grid_of_tower
from .whole_files import weight_parts, whole_headers

PACKAGE: Final = "xllamacpp"
PROGRAM: Final = Path(__file__).with_name("llama_server.py")
CONTEXT: Final = 8192
"""Tokens of one question and its reply: an edit with two pictures and a full critique takes about 5,000."""
ANSWER_SECONDS: Final = 3600.0
"""An 8B judge on a CPU may take minutes over a critique."""
OVERHEAD_GB: Final = 1.0


def gguf_config(
    model: Path, *, max_pixels: int | None = None, slots: int = 2, cpu: bool = False, idle_seconds: float = 300.0
) -> tuple[ServerConfig, PictureGrid]:
    """How a model and the tower beside it are served, and how pictures are scaled for it. ConfigError if the files or llama.cpp are not there."""
    files = pair(model)
    python = llama_python()
    if python is None:
        raise ConfigError(
            f"GGUF judges run by llama.cpp, which is not installed: {sys.executable} -m pip install {PACKAGE}"
        )
    language, *_, tower = whole_headers(files)
    context = min(CONTEXT, language.context or CONTEXT)
    command = [python, str(PROGRAM), "--model", str(files.model), "--mmproj", str(files.mmproj), "--port", PORT]
    command += ["--slots", str(slots), "--context", str(context), *(["--cpu"] if cpu else [])]
    config = ServerConfig(
        name=files.model.name,
        command=tuple(command),
        environment={"LLAMA_API_KEY": KEY},
        structured="llama_cpp",
        timeout_seconds=ANSWER_SECONDS,
        concurrency=slots,
        probe=False,  # what llama.cpp honours is known; its questions would cost a slow machine minutes
        max_pixels=MOST_PIXELS if max_pixels is None else max_pixels,
        idle_seconds=idle_seconds,
        memory_gb=0.0 if cpu else memory_gb(files, language, slots * context),
    )
    return config, grid_of_tower(tower)


def llama_python() -> str | None:
    """The interpreter that has llama.cpp: this one, if the package is installed."""
    return sys.executable if find_spec(PACKAGE) is not None else None


def memory_gb(files: GgufPair, model: GgufHeader, tokens: int) -> float:
    """What the judge takes of a card at most: its files, keys and values of every token, and room to work."""
    kind = model.architecture
    heads = model.number(f"{kind}.attention.head_count_kv") or model.number(f"{kind}.attention.head_count")
    width = model.number(f"{kind}.attention.key_length") or model.width // max(
        1, model.number(f"{kind}.attention.head_count")
    )
    cache = 2 * 2 * tokens * model.number(f"{kind}.block_count") * heads * width
    parts = sum(file.stat().st_size for file in (*weight_parts(files.model), files.mmproj))
    return round((parts + cache) / 2**30 + OVERHEAD_GB, 1)
