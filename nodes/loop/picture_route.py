"""Save in the frame's dialog: one iteration of a run as a PNG that tells how it was made."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aiohttp import web

from ...rationalrewards_core.errors import ConfigError
from ...rationalrewards_core.pixels import to_rgb
from ..http import refusal
from .board import LoopBoard

PICTURE_PATH = "/rationalrewards/loop/picture"
ASK = "Name a run and one of its iterations: ?prompt_id=0f3a&node=12&iteration=2"
UNKNOWN = "This run is over and forgotten: queue the workflow again."
GONE = "This picture is no longer there: queue the workflow again."


class LoopPictures:
    """The handler; it knows the board."""

    def __init__(self, board: LoopBoard) -> None:
        self._board = board

    async def picture(self, request: web.Request) -> web.Response:
        """GET ?prompt_id=id&node=id&iteration=number from 0 -> image/png; 400 or 404 with {"error": sentence}."""
        prompt_id, node, number = (request.query.get(name, "") for name in ("prompt_id", "node", "iteration"))
        if not (prompt_id and node and number.isdecimal() and len(number) < 10):
            return refusal(400, ASK)
        state, story = self._board.of_run(prompt_id, node), self._board.story(prompt_id, node)
        if state is None or story is None:
            return refusal(404, UNKNOWN)
        rows = state["iterations"]
        if int(number) >= len(rows):
            return refusal(400, f"The run has {len(rows)} iterations, counted from 0.")
        row = rows[int(number)]
        pixels = await asyncio.to_thread(_pixels, row)
        if pixels is None:
            return refusal(404, GONE)
        from .pictures import picture_file, picture_name

        content = await asyncio.to_thread(picture_file, pixels, story, row)
        name = picture_name(row, f"iteration_{row['index'] + 1}")
        disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
        return web.Response(body=content, content_type="image/png", headers=disposition)


def _pixels(row: Mapping[str, Any]) -> Any:
    """[H, W, C] of whole numbers: of the kept image, else of the file that the film shows; None if neither is there."""
    from .pictures import picture_pixels
    from .run import held_image

    if row["kept"] is not None:
        with suppress(ConfigError):  # it may have been swept away since
            return picture_pixels(held_image(row["kept"]))
    return _film_pixels(row["image"])


def _film_pixels(image: Mapping[str, str]) -> Any:
    import numpy as np
    from PIL import Image

    from ..show.previews import temp_folder

    try:
        with Image.open(temp_folder() / image["subfolder"] / image["filename"]) as picture:
            return np.asarray(to_rgb(picture))
    except OSError:
        return None
