"""Checkpoints, adapters and rubric files that a workflow may name: what lies inside ComfyUI's model folders.

A workflow is somebody else's file. It names a model as `FOLDER/NAME`, as the lists show it; nothing else is
opened: no absolute path, no `..`, no address, no hub id, and no link that leads out of the model folders.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...rationalrewards_core.errors import ConfigError
from ...rationalrewards_core.gguf import files as gguf_files
from ...rationalrewards_core.miniature import scorer_folder

CHECKPOINT_FOLDERS: Final = ("LLM", "text_encoders", "rationalrewards")
ADAPTER_FOLDERS: Final = ("rationalrewards", "loras")
RUBRIC_FOLDER: Final = "rubrics"
"""Inside models/rationalrewards, and inside the pack."""
LONGEST_NAME: Final = 200
DEPTH: Final = 3
"""How many folders below a model folder are looked into."""

NO_CHECKPOINT: Final = (
    "none found: download TIGER-Lab/RationalRewards-8B-T2I or -Edit from huggingface.co to models/LLM/<name>/"
)
GET_CHECKPOINT: Final = (
    "Download TIGER-Lab/RationalRewards-8B-T2I or TIGER-Lab/RationalRewards-8B-Edit from huggingface.co and put its "
    "files into models/LLM/<name>/"
)
NO_GGUF: Final = "none found: put a GGUF model and its mmproj file into models/LLM/<name>/"
GET_GGUF: Final = "Put a GGUF model of a Qwen-VL-class judge and its mmproj file into models/LLM/<name>/"
GET_ADAPTER: Final = "Put the adapter's folder into models/rationalrewards/<name>/"
GET_RUBRIC: Final = f"Put the TOML file into models/rationalrewards/{RUBRIC_FOLDER}/"
NO_ADAPTER: Final = "none"
SHIPPED: Final = "miniature"
"""The pack's own judge as a checkpoint, for an adapter that was trained on it."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Something a combo shows."""

    name: str
    """As in the combo, with forward slashes: `LLM/RationalRewards-8B-T2I`."""
    path: Path


def checkpoints() -> list[Listed]:
    """Folders of Qwen-VL-class checkpoints, in the order of their names."""
    return _listed(CHECKPOINT_FOLDERS, is_checkpoint)


def gguf_models() -> list[Listed]:
    """GGUF models that have a picture tower (mmproj) beside them, in the order of their names."""
    listing: dict[str, Listed] = {}
    for kind in CHECKPOINT_FOLDERS:
        for root in roots(kind):
            for folder in (root, *_folders(root, DEPTH)):
                files = gguf_files.models(folder) if gguf_files.towers(folder) else []
                for file in files:
                    name = f"{kind}/{file.relative_to(root).as_posix()}"
                    if name not in listing and _inside(file, root):
                        listing[name] = Listed(name=name, path=file)
    return sorted(listing.values(), key=lambda entry: entry.name.lower())


def adapters() -> list[Listed]:
    """Folders of peft LoRA adapters."""
    return _listed(ADAPTER_FOLDERS, is_adapter)


def rubric_files() -> list[Listed]:
    """TOML files of models/rationalrewards/rubrics, and of the pack's own rubrics folder, if it has one."""
    folders = [root / RUBRIC_FOLDER for root in roots("rationalrewards")]
    folders.append(Path(__file__).parents[2] / RUBRIC_FOLDER)
    listing: dict[str, Listed] = {}
    for folder in folders:
        if folder.is_dir():
            for file in sorted(folder.glob("*.toml")):
                if _inside(file, folder):
                    listing.setdefault(file.name, Listed(name=file.name, path=file))
    return list(listing.values())


def find_checkpoint(name: object) -> Path:
    """The folder behind a combo's value; ConfigError with what to download if it is not there."""
    if name == SHIPPED:
        return scorer_folder()
    return _find(name, checkpoints(), "a checkpoint", GET_CHECKPOINT)


def find_gguf(name: object) -> Path:
    """The file behind a combo's value; ConfigError with what to put where if it is not there."""
    return _find(name, gguf_models(), "a GGUF model", GET_GGUF)


def find_adapter(name: object) -> Path | None:
    """The folder behind a combo's value, or None for `none`."""
    if name == NO_ADAPTER:
        return None
    return _find(name, adapters(), "an adapter", GET_ADAPTER)


def find_rubric(name: object) -> Path:
    """The file behind a combo's value."""
    return _find(name, rubric_files(), "a rubric", GET_RUBRIC)


def roots(kind: str) -> list[Path]:
    """ComfyUI's folders of one kind; `extra_model_paths.yaml` may have added some."""
    import folder_paths

    folders = folder_paths.get_folder_paths(kind) if kind in folder_paths.folder_names_and_paths else []
    own = Path(folder_paths.models_dir) / kind
    return list(dict.fromkeys([*(Path(path) for path in folders), own]))


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder holds safetensors weights of a Qwen-VL-class model."""
    config = _json(folder / "config.json")
    family = str(config.get("model_type", ""))
    return family.startswith("qwen") and "vision_config" in config and any(folder.glob("*.safetensors"))


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds a peft LoRA adapter."""
    config = _json(folder / "adapter_config.json")
    return config.get("peft_type") == "LORA" and (folder / "adapter_model.safetensors").is_file()


def stamp(folder: Path) -> str:
    """Changes whenever a file that the model is made of changes."""
    files = sorted(file for kind in ("safetensors", "gguf", "json", "toml") for file in folder.glob(f"*.{kind}"))
    return "-".join(f"{file.stat().st_mtime_ns:x}.{file.stat().st_size:x}" for file in files)


def _json(file: Path) -> dict[str, object]:
    """A small JSON object, or an empty one: a folder with a damaged file is not what we look for."""
    try:
        content = json.loads(file.read_text(encoding="utf-8")) if file.stat().st_size < 1_000_000 else None
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _listed(kinds: tuple[str, ...], accepts: Callable[[Path], bool]) -> list[Listed]:
    listing: dict[str, Listed] = {}
    for kind in kinds:
        for root in roots(kind):
            for folder in _folders(root, DEPTH):
                name = f"{kind}/{folder.relative_to(root).as_posix()}"
                if name not in listing and accepts(folder) and _inside(folder, root):
                    listing[name] = Listed(name=name, path=folder)
    return sorted(listing.values(), key=lambda entry: entry.name.lower())


def _folders(root: Path, depth: int) -> Iterator[Path]:
    try:
        # scandir, because a folder of thousands of LoRA files must not cost thousands of stat calls at every start.
        with os.scandir(root) as entries:
            inside = sorted((e.name, e.is_symlink()) for e in entries if not e.name.startswith(".") and e.is_dir())
    except OSError:
        return
    for name, linked in inside:
        yield root / name
        if depth > 1 and not linked:
            yield from _folders(root / name, depth - 1)


def _inside(path: Path, root: Path) -> bool:
    """Whether a path, with every link followed, is in its folder or in another model folder."""
    real = path.resolve()
    allowed = [root, *(other for kind in {*CHECKPOINT_FOLDERS, *ADAPTER_FOLDERS} for other in roots(kind))]
    return any(real.is_relative_to(folder.resolve()) for folder in allowed)


def _find(name: object, entries: list[Listed], what: str, advice: str) -> Path:
    """The path behind a name of the list; whatever is not in the list is refused, and the sentence says how."""
    for entry in entries:
        if entry.name == name:
            return entry.path
    noun = what.partition(" ")[2]
    if name in (NO_CHECKPOINT, NO_GGUF):
        raise ConfigError(f"There is no {noun} yet. {advice}.")
    if not isinstance(name, str) or len(name) > LONGEST_NAME or _leads_elsewhere(name):
        raise ConfigError(f"A workflow can only name {what} of the list, not an address or a path.")
    raise ConfigError(f"There is no {noun} {name!r} in ComfyUI's model folders. {advice}.")


def _leads_elsewhere(name: str) -> bool:
    return ".." in name or ":" in name or "\\" in name or name.startswith(("/", "~")) or not name.isprintable()
