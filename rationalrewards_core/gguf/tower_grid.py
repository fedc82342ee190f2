"""How pictures are scaled for a GGUF picture tower, and for whatever a server's `processor` names."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..errors import ConfigError
from ..picture_grid import PictureGrid, grid_of_folder
from .header import GgufHeader, read_header

LEAST_PIXELS: Final = {"qwen2vl_merger": 3136, "qwen2.5vl_merger": 3136}
"""What the image processors of those models scale small pictures up to, where their file does not say it."""
USUAL_LEAST: Final = 65_536
MOST_PIXELS: Final = 16_777_216
"""What Qwen3-VL's image processor allows; the caller's own limit is lower."""
QWEN3_SIDE: Final = 32


def grid_of_tower(tower: GgufHeader) -> PictureGrid:
    """How the checkpoint's own image processor scales: as the file says, else as its family does.

    llama.cpp itself leaves small pictures as they are: 128 x 128 pixels would be 16 tokens there and 64 here.
    """
    side = tower.number("clip.vision.patch_size") * (tower.number("clip.vision.spatial_merge_size") or 2)
    kind = str(tower.values.get("clip.projector_type") or tower.values.get("clip.vision.projector_type") or "")
    least = tower.number("clip.vision.image_min_pixels") or LEAST_PIXELS.get(kind, USUAL_LEAST)
    most = tower.number("clip.vision.image_max_pixels") or MOST_PIXELS
    return PictureGrid(side or QWEN3_SIDE, least, max(least, most))


def grid_of_processor(path: Path) -> PictureGrid | None:
    """What a folder's preprocessor_config.json or a tower's file states; None for a folder without one.

    ConfigError for a file that is no picture tower, and where there is nothing.
    """
    if not path.exists():
        raise ConfigError(f"There is no {path}, which a server in the config file names as its processor.")
    if not path.is_file():
        return grid_of_folder(path)
    header = read_header(path)
    if not header.is_tower:
        raise ConfigError(
            f"{path} is no picture tower; as processor, name the mmproj file, or the checkpoint's folder."
        )
    return grid_of_tower(header)
