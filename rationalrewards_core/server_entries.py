"""Entries of the user's config file for servers that this program starts: written for three kinds, listed, removed.

The file is the user's: an entry is added at its end or cut out, and every other character of it stays as it is.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from .errors import ConfigError
from .gguf.pairs import GgufPair, pair
from .gguf.whole_files import whole_headers
from .images import QWEN3_FACTOR
from .picture_grid import PictureGrid, grid_of_folder
from .servers import KEY, PORT, load_servers
from .storage import replace_file

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

EntryKind = Literal["vllm", "llama.cpp", "sglang"]
KINDS: Final[tuple[EntryKind, ...]] = ("vllm", "llama.cpp", "sglang")
CONTEXT: Final = 8192
"""Tokens of one question and its reply: an edit with two pictures and a full critique takes about 5,000."""
MOST_PIXELS: Final = 802_816
LEAST_PIXELS: Final = 65_536
PICTURES: Final = 4
"""Pictures of one question at most: a candidate and the sources of an edit."""
PROGRAMS: Final[Mapping[EntryKind, str]] = {"vllm": "vllm", "llama.cpp": "llama-server", "sglang": "python3"}
LOOPBACK: Final = ("--host", "127.0.0.1", "--port", PORT)

Entry = dict[str, Any]


def server_entry(
    kind: EntryKind,
    model: str,
    *,
    mmproj: str | None = None,
    program: str | None = None,
    slots: int = 2,
    share: float = 0.9,
) -> Entry:
    """The table of a server. ConfigError if its program or a file is missing.

    `share` of the card's memory is what vLLM and SGLang take; `slots` questions are answered at once by llama.cpp.
    """
    if not 0.1 <= share <= 1.0:
        raise ConfigError(f"--memory-share must be between 0.1 and 1, not {share:g}.")
    if slots < 1:
        raise ConfigError(f"--slots must be at least 1, not {slots}.")
    path = found_program(kind, program)
    model = str(Path(model).expanduser().absolute()) if Path(model).expanduser().exists() else model
    if kind == "llama.cpp":
        return _llama_cpp(path, model, mmproj, slots)
    if mmproj is not None:
        raise ConfigError("--mmproj goes with llama.cpp; other servers find the picture tower in the model's folder.")
    # Where the processor's settings can be read, pictures are scaled here exactly as they say.
    processor = {"processor": model} if grid_of_folder(Path(model)) is not None else {}
    if kind == "vllm":
        return {**_vllm(path, model, share), **processor}
    words = (path, "-m", "sglang.launch_server", "--model-path", model, *LOOPBACK, "--api-key", KEY)
    sizes = ("--context-length", str(_context(model)), "--mem-fraction-static", f"{share:g}", "--enable-multimodal")
    return {"command": [*words, *sizes], **processor}


def found_program(kind: EntryKind, program: str | None) -> str:
    """The whole path of a server's program: ComfyUI may be started with another PATH. ConfigError if there is none."""
    name = program or PROGRAMS[kind]
    path = shutil.which(Path(name).expanduser())
    if path is None:
        hint = " To judge with a GGUF file without it: --engine gguf:FILE." if kind == "llama.cpp" else ""
        raise ConfigError(f"There is no program {name!r} here; install {kind}, or name it with --program PATH.{hint}")
    return str(Path(path).absolute())


def add_entry(path: Path, name: str, entry: Entry) -> None:
    """Write an entry at the end of a config file, which is made if need be. ConfigError if the name is taken."""
    if name in load_servers(path):
        raise ConfigError(
            f"{path} has a server {name!r} already: rationalrewards servers remove {name}, or another name."
        )
    old = path.read_text(encoding="utf-8-sig") if path.exists() else ""
    new = (
        old
        + ("" if not old or old.endswith("\n\n") else "\n" if old.endswith("\n") else "\n\n")
        + entry_text(name, entry)
    )
    _replace(path, new, {**_servers(old), name: entry})


def remove_entry(path: Path, name: str) -> None:
    """Cut a server out of a config file. ConfigError if it is not there, or is written so that it cannot be cut out."""
    servers = load_servers(path)
    if name not in servers:
        raise ConfigError(f"There is no server {name!r} in {path} (it knows {', '.join(sorted(servers)) or 'none'}).")
    old = path.read_text(encoding="utf-8-sig")
    left = {other: row for other, row in _servers(old).items() if other != name}
    _replace(path, _without(old, name), left)


def entry_text(name: str, entry: Entry) -> str:
    """An entry as TOML."""
    lines = [f"[servers.{_key(name)}]"]
    lines += [f"{key} = {_value(value)}" for key, value in entry.items()]
    return "\n".join(lines) + "\n"


def _context(model: str) -> int:
    """Tokens of one question, or as many as a checkpoint on this machine was made for: servers refuse to begin with more."""
    try:
        config = json.loads((Path(model) / "config.json").read_text(encoding="utf-8"))
        own = config.get("text_config", config).get("max_position_embeddings")
    except (OSError, ValueError, AttributeError):
        return CONTEXT
    return min(CONTEXT, own) if isinstance(own, int) and own > 0 else CONTEXT


def _vllm(program: str, model: str, share: float) -> Entry:
    grid = grid_of_folder(Path(model)) or PictureGrid(QWEN3_FACTOR, LEAST_PIXELS)
    size = {"longest_edge": max(grid.least, min(grid.most or MOST_PIXELS, MOST_PIXELS)), "shortest_edge": grid.least}
    words = (program, "serve", model, *LOOPBACK, "--max-model-len", str(_context(model)))
    pictures = ("--limit-mm-per-prompt", json.dumps({"image": PICTURES, "video": 0}))
    sizes = ("--mm-processor-kwargs", json.dumps({"size": size}))
    return {
        "command": [*words, "--gpu-memory-utilization", f"{share:g}", *pictures, *sizes],
        "environment": {"VLLM_API_KEY": KEY},
    }


def _llama_cpp(program: str, model: str, mmproj: str | None, slots: int) -> Entry:
    paths = [Path(model), *([Path(mmproj).expanduser().absolute()] if mmproj is not None else [])]
    for file in paths:
        if not file.is_file():
            raise ConfigError(f"There is no file {str(file)!r}.")
    try:
        tower = paths[1] if mmproj is not None else pair(paths[0]).mmproj
    except ConfigError as error:
        raise ConfigError(f"{error} Or name its picture tower with --mmproj FILE.") from error
    whole_headers(GgufPair(paths[0], tower))
    sizes = ("--ctx-size", str(slots * CONTEXT), "--parallel", str(slots))
    return {
        "command": [program, "--model", model, "--mmproj", str(tower), *LOOPBACK, *sizes],
        "environment": {"LLAMA_API_KEY": KEY},
        "concurrency": slots,
        "processor": str(tower),
    }


def _servers(text: str) -> dict[str, Any]:
    servers = tomllib.loads(text).get("servers", {})
    return servers if isinstance(servers, dict) else {}


def _replace(path: Path, text: str, expected: Mapping[str, Any]) -> None:
    """Write the file if it then says what is expected; else leave it alone."""
    try:
        right = _servers(text) == expected
    except tomllib.TOMLDecodeError:
        right = False
    if not right:
        raise ConfigError(f"{path} is written in a way that this command does not change; edit it by hand.")
    replace_file(path, [text.encode("utf-8")])


def _without(text: str, name: str) -> str:
    """The text without the tables of one server."""
    spelt = "|".join(re.escape(form) for form in {name, _quoted(name), f"'{name}'"})
    own = re.compile(rf"\s*\[\s*servers\s*\.\s*(?:{spelt})\s*[.\]]")
    lines_left, cutting = [], False
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("["):
            cutting = own.match(line) is not None
        if not cutting:
            lines_left.append(line)
    return "".join(lines_left)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quoted(name)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return _quoted(value) if isinstance(value, str) else json.dumps(value)
