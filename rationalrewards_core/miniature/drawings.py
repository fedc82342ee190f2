"""Pictures of the world drawn by its renderer: exactly what a request says, and edits as an imperfect editor makes them.

The renderer stands in for a generator where the miniature has none: it cannot be trained and learns nothing.
"""

from __future__ import annotations

import hashlib

import numpy as np
from PIL import Image

from .edits import parse_edit, target
from .flaws import complete, edited_example
from .render import place, render
from .truth import PictureContent
from .world import parse_request


def draw_request(request: str, seed: int) -> Image.Image:
    """What `request` asks for, without a flaw; the seed chooses what it leaves open. RequestError as `parse_request`."""
    rng = np.random.default_rng(seed)
    content = complete(rng, parse_request(request))
    return Image.fromarray(render(rng, PictureContent(content), place(rng, content)).picture)


def draw_edit(request: str, instruction: str, seed: int) -> tuple[Image.Image, Image.Image]:
    """(source, edited): the picture of `request`, and the same after `instruction`, which some seeds get wrong.

    The source depends on the request alone, so that every seed edits the same picture. RequestError if either text is
    not of this world, or the source has nothing that the instruction names.
    """
    digest = hashlib.sha256(" ".join(request.casefold().split()).encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    content = complete(rng, parse_request(request))
    edit = parse_edit(instruction)
    if not edit.asks_for_text:
        target(edit, content)
    placement = place(rng, content, room_for_edits=True)
    source = render(rng, PictureContent(content), placement).picture
    example = edited_example(np.random.default_rng(seed), edit, content, placement)
    return Image.fromarray(source), Image.fromarray(example.picture)
