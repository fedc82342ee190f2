"""How a checkpoint's image processor scales a picture, done before the picture is sent.

A server's own processor then finds nothing to scale, and its judge sees what the local engine's judge sees: servers differ
in their filters, in the least size that they enlarge to, and in the most that they allow.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image

from .images import qwen_size
from .pixels import to_rgb

_LEAST_OF_GRID: Final = {32: 65_536, 28: 3_136}
"""Fewest pixels to which the image processors of the Qwen-VL family scale, by the side of their grid."""


@dataclass(frozen=True)
class PictureGrid:
    """Sizes that are multiples of the square that becomes one token."""

    side: int
    """Pixels of the square's side."""
    least: int
    """Fewest pixels of a picture; smaller ones are enlarged."""
    most: int | None = None
    """Most pixels of a picture as the checkpoint states it; None leaves that to the caller."""
    resample: Image.Resampling = Image.Resampling.BICUBIC

    def fit(self, picture: Image.Image, max_pixels: int) -> Image.Image:
        """The picture as the processor would make it, under the caller's own limit of pixels.

        A size that the processor would change once more (its least and most pixels can be too close to each other) is left
        to the server.
        """
        most = min(max_pixels, self.most or max_pixels)
        size = qwen_size(picture.size, self.side, min(self.least, most), most)
        if size == picture.size or size != qwen_size(size, self.side, self.least, max(self.least, self.most or most)):
            return picture
        return to_rgb(picture).resize(size, self.resample)


def grid_of_side(side: int) -> PictureGrid | None:
    """The grid of a model of the Qwen-VL family of which only the side is known; None for any other side."""
    return PictureGrid(side, _LEAST_OF_GRID[side]) if side in _LEAST_OF_GRID else None


def grid_of_folder(folder: Path) -> PictureGrid | None:
    """What a checkpoint's own preprocessor_config.json states; None if there is none, or of another family."""
    try:
        settings = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
        return _grid_of(settings) if isinstance(settings, dict) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _grid_of(settings: dict[str, Any]) -> PictureGrid:
    """KeyError, TypeError or ValueError for the settings of another family."""
    edges = settings["size"] if isinstance(settings.get("size"), dict) else {}
    least = settings.get("min_pixels") or edges.get("shortest_edge") or edges["min_pixels"]
    most = settings.get("max_pixels") or edges.get("longest_edge") or edges["max_pixels"]
    side = int(settings["patch_size"]) * int(settings["merge_size"])
    return PictureGrid(side, int(least), int(most), Image.Resampling(int(settings.get("resample", 3))))
