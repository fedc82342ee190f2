"""Pictures side by side in one picture."""

from __future__ import annotations

from PIL import Image


def contact_sheet(pictures: list[Image.Image], columns: int, scale: int = 2) -> Image.Image:
    """Square pictures of one size, row by row, each `scale` times as large."""
    side = pictures[0].width * scale
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (side + 2), rows * (side + 2)))
    for index, picture in enumerate(pictures):
        place = ((index % columns) * (side + 2), (index // columns) * (side + 2))
        sheet.paste(picture.resize((side, side), Image.Resampling.NEAREST), place)
    return sheet
