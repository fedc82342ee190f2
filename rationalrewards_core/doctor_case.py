"""What the doctor shows an engine, and how its answer is overheard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from PIL import Image

from .backends.base import Backend, Reply, Sampling
from .backends.wrapper import BackendWrapper
from .messages import Message

PROMPT: Final = "a large red circle left of a small blue square"


class Witness(BackendWrapper):
    """Remembers the replies that passed through it."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self.replies: list[Reply] = []

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        reply = await super().reply(messages, sampling)
        self.replies.append(reply)
        return reply


def shipped_picture() -> Image.Image:
    """What `PROMPT` asks for, drawn; the same pixels every time."""
    import numpy as np

    from .miniature.render import place, render
    from .miniature.truth import PictureContent
    from .miniature.world import parse_request

    source, content = np.random.default_rng(0), parse_request(PROMPT)
    return Image.fromarray(render(source, PictureContent(content), place(source, content)).picture)
