"""Whether a model behind a server sees pictures, how many, and in which grid; found out with four tiny questions.

A model without eyes answers as fluently as one with them, and servers differ in what they do with a picture that the
model cannot take: refuse it, drop it, or hand it on as text. What a picture costs in tokens tells all of these apart.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image

from ..errors import BackendError
from ..messages import Message

SIDE: Final = 448
"""A multiple of the grids in use (32, 28, 16, 14), so that no server needs to scale a picture of it."""
HALF: Final = (SIDE, SIDE // 2)
"""Size of the pictures that are shown alone; more pixels than the least that Qwen's image processors take."""
QUESTION: Final = "Name the colour of the picture in one word."
LEAST: Final = 12
"""Tokens that a picture of this size takes at least; a word in its place, such as `[image]`, takes fewer."""
REFUSED: Final = (400, 404, 415, 422, 500, 501)
"""What servers answer to a picture that their model cannot take; llama.cpp without its picture tower says 500."""

PromptTokens = Callable[[Sequence[Message]], Awaitable[int]]
"""Ask, and tell how many tokens the prompt had; 0 where the server does not say."""


@dataclass(frozen=True)
class Sight:
    """What a model sees."""

    blind: str = ""
    """Why it cannot see, as a clause; empty if it can."""
    pictures: int = 0
    """How many it takes in one question, 1 or 2; 0 if it sees none."""
    grid: int = 0
    """Pixels of the side of the square that becomes one token; 0 if the counts fit none."""


async def sight_of(prompt_tokens: PromptTokens) -> Sight:
    """What the model sees. ValueError where the server does not count tokens.

    Of two pictures of one size, a plain and a busy one, a model that sees takes the same number of tokens, and more than
    of the question alone; one that is handed a picture as text takes more for the busy one. A picture twice as large
    takes more by the tokens of one half, which gives the grid. Raises BackendError for whatever fails for another reason.
    """
    red = (200, 30, 30)
    alone = await prompt_tokens(_question())
    try:
        plain = await prompt_tokens(_question(Image.new("RGB", HALF, red)))
        busy = await prompt_tokens(_question(Image.effect_noise(HALF, 90)))
    except BackendError as error:
        if error.status in REFUSED:
            return Sight(f"it refuses them ({error})")
        raise
    if not (alone and plain and busy):
        raise ValueError("the server counts no tokens")
    if plain - alone < LEAST:
        return Sight(f"a prompt has {plain} tokens with a picture and {alone} without")
    if plain != busy:
        return Sight(f"two pictures of one size cost {plain - alone} and {busy - alone} tokens, as their text would")
    try:
        both = await prompt_tokens(_question(Image.new("RGB", HALF, red), Image.new("RGB", (SIDE, SIDE), red)))
    except BackendError as error:
        if error.status in REFUSED:
            return Sight(pictures=1)
        raise
    return Sight(pictures=2, grid=_grid((both - plain) - (plain - alone)))


def _grid(tokens: int) -> int:
    """The grid in which half a square picture has this many tokens; 0 if there is none."""
    side = math.sqrt(HALF[0] * HALF[1] / tokens) if tokens > 0 else 0.0
    return int(side) if side >= 2 and side == int(side) and HALF[1] % int(side) == 0 else 0


def _question(*pictures: Image.Image) -> tuple[Message, ...]:
    return (Message("user", (*pictures, QUESTION)),)
