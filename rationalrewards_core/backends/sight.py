"""Whether a model behind a server sees pictures, found out with three tiny questions.

A model without eyes answers as fluently as one with them, and servers differ in what they do with a picture that the
model cannot take: refuse it, drop it, or hand it on as text. What a picture costs in tokens tells all of these apart.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from PIL import Image

from ..errors import BackendError
from ..messages import Message

SIDE: Final = 256
QUESTION: Final = "Name the colour of the picture in one word."
LEAST: Final = 12
"""Tokens that a picture of this size takes at least; a word in its place, such as `[image]`, takes fewer."""
REFUSED: Final = (400, 404, 415, 422, 501)
"""What servers answer to a picture that their model cannot take."""

PromptTokens = Callable[[Sequence[Message]], Awaitable[int]]
"""Ask, and tell how many tokens the prompt had; 0 where the server does not say."""


async def why_blind(prompt_tokens: PromptTokens) -> str | None:
    """Why the model cannot see, as a clause; None if it can. ValueError where the server does not count tokens.

    Of two pictures of one size, a plain and a busy one, a model that sees takes the same number of tokens, and more than
    of the question alone; one that is handed a picture as text takes more for the busy one. Raises BackendError for
    whatever fails for another reason.
    """
    alone = await prompt_tokens(_question())
    try:
        plain = await prompt_tokens(_question(Image.new("RGB", (SIDE, SIDE), (200, 30, 30))))
        busy = await prompt_tokens(_question(Image.effect_noise((SIDE, SIDE), 90)))
    except BackendError as error:
        if error.status in REFUSED:
            return f"it refuses them ({error})"
        raise
    if not (alone and plain and busy):
        raise ValueError("the server counts no tokens")
    if plain - alone < LEAST:
        return f"a prompt has {plain} tokens with a picture and {alone} without"
    if plain != busy:
        return f"two pictures of one size cost {plain - alone} and {busy - alone} tokens, as their text would"
    return None


def _question(*pictures: Image.Image) -> tuple[Message, ...]:
    return (Message("user", (*pictures, QUESTION)),)
