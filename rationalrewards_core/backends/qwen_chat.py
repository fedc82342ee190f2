"""Messages -> the exact prompt text of a Qwen-VL-class checkpoint, with its image tokens expanded.

The tokeniser's own chat template does the wording. transformers' processor class is not used: for
this family it cannot be built without torchvision, and all it adds is the expansion done here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import RequestError
from ..messages import Message

IMAGE_TOKEN = "<|image_pad|>"  # noqa: S105


def chat_text(tokeniser: Any, messages: Sequence[Message]) -> str:
    """The conversation as the chat template writes it, ending where the assistant's reply begins."""
    conversation = [
        {
            "role": message.role,
            "content": [
                {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"} for part in message.parts
            ],
        }
        for message in messages
    ]
    text: str = tokeniser.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
    return text


def expand_images(text: str, tokens_per_image: Sequence[int]) -> str:
    """Repeat each image placeholder by its image's number of tokens."""
    pieces = text.split(IMAGE_TOKEN)
    if len(pieces) - 1 != len(tokens_per_image):
        raise RequestError(
            f"The chat template left room for {len(pieces) - 1} images but there are {len(tokens_per_image)}; "
            "this checkpoint's chat template is not of the Qwen-VL kind."
        )
    expanded = pieces[0]
    for count, piece in zip(tokens_per_image, pieces[1:], strict=True):
        expanded += IMAGE_TOKEN * count + piece
    return expanded
