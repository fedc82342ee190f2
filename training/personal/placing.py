"""The finished adapter where ComfyUI's Load Rational Scorer lists it."""

from __future__ import annotations

from pathlib import Path

from rationalrewards_core.errors import ConfigError
from rationalrewards_core.storage import copy_folder

FOLDER = Path("models") / "rationalrewards"


def comfyui_folder(given: Path | None, pack: Path) -> Path | None:
    """The ComfyUI to place things in: the given one, else the one whose custom_nodes the pack lies in, else None.

    ConfigError if the given folder is no ComfyUI.
    """
    if given is None:
        return pack.parents[1] if pack.parent.name == "custom_nodes" and _is_comfyui(pack.parents[1]) else None
    if not _is_comfyui(given.expanduser()):
        raise ConfigError(f"--comfyui {given} is no ComfyUI: it has no folder models beside custom_nodes.")
    return given.expanduser()


def _is_comfyui(folder: Path) -> bool:
    return (folder / "models").is_dir() and (folder / "custom_nodes").is_dir()


def place(made: Path, target: Path) -> Path:
    """Copy a folder; one of that name is replaced as a whole. Returns the target."""
    copy_folder(made, target)
    return target
