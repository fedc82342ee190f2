"""The finished adapter where ComfyUI's Load Rational Scorer lists it."""

from __future__ import annotations

from pathlib import Path

from rationalrewards_core.errors import ConfigError
from rationalrewards_core.storage import copy_folder

FOLDER = Path("models") / "rationalrewards"


def comfyui_folder(folder: Path | None, pack: Path) -> Path | None:
    """The ComfyUI to place things in: `folder`, else the one whose custom_nodes the pack lies in, else None.

    ConfigError if `folder` is no ComfyUI.
    """
    if folder is None:
        return pack.parents[1] if pack.parent.name == "custom_nodes" and _is_comfyui(pack.parents[1]) else None
    if not _is_comfyui(folder.expanduser()):
        raise ConfigError(f"--comfyui {folder} is no ComfyUI: it has no folder models beside custom_nodes.")
    return folder.expanduser()


def _is_comfyui(folder: Path) -> bool:
    return (folder / "models").is_dir() and (folder / "custom_nodes").is_dir()


def place(source: Path, target: Path) -> Path:
    """Copy a folder; one of that name is replaced as a whole. Returns the target."""
    copy_folder(source, target)
    return target
