"""Messages -> what a Qwen-VL-class checkpoint is fed: the exact prompt text, its tokens, its image patches.

The tokeniser's own chat template does the wording. transformers' processor class is not used: for
this family it cannot be built without torchvision, and all it adds is the expansion done here.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import RequestError
from ..messages import Message
from ..thinking import thoughts_closed

if TYPE_CHECKING:
    from .checkpoint import Checkpoint

IMAGE_TOKEN = "<|image_pad|>"  # noqa: S105


def chat_text(tokeniser: Any, messages: Sequence[Message]) -> str:
    """The conversation as the chat template writes it, ending where the assistant's reply begins.

    Thinking is switched off: a critique is the thinking, and where a template begins thoughts all the same, they are ended.
    """
    conversation = [
        {
            "role": message.role,
            "content": [
                {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"} for part in message.parts
            ],
        }
        for message in messages
    ]
    text: str = tokeniser.apply_chat_template(
        conversation, tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    return thoughts_closed(text)


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


@dataclass(frozen=True)
class Conversation:
    """One conversation as the model is fed it, before it is padded to others."""

    text: str
    images: dict[str, Any]
    """What the image processor made of its pictures, one after the other; empty without any."""


def read_conversation(checkpoint: Checkpoint, messages: Sequence[Message]) -> Conversation:
    """Text with room for every image token, and image patches."""
    images = [image for message in messages for image in message.images]
    encoded = dict(checkpoint.image_processor(images, return_tensors="pt")) if images else {}
    tokens = _tokens_per_image(encoded, checkpoint.image_processor.merge_size)
    return Conversation(expand_images(chat_text(checkpoint.tokeniser, messages), tokens), encoded)


def model_inputs(checkpoint: Checkpoint, conversations: Sequence[Sequence[Message]]) -> dict[str, Any]:
    """Padded token ids (on the tokeniser's side), image patches and token kinds of a batch, on the model's device."""
    return padded_inputs(checkpoint, [read_conversation(checkpoint, messages) for messages in conversations])


def padded_inputs(checkpoint: Checkpoint, conversations: Sequence[Conversation]) -> dict[str, Any]:
    """The same of conversations that were read before."""
    import torch

    texts = [conversation.text for conversation in conversations]
    batch = dict(checkpoint.tokeniser(texts, return_tensors="pt", padding=True, add_special_tokens=False))
    batch.pop("token_type_ids", None)
    pictures = [conversation.images for conversation in conversations if conversation.images]
    batch.update({name: torch.cat([images[name] for images in pictures]) for name in (pictures[0] if pictures else ())})
    if takes_token_kinds(checkpoint.model):
        image_id = checkpoint.tokeniser.convert_tokens_to_ids(IMAGE_TOKEN)
        batch["mm_token_type_ids"] = (batch["input_ids"] == image_id).int()
    return {name: value.to(checkpoint.device) for name, value in batch.items()}


def takes_token_kinds(model: Any) -> bool:
    """Whether the model must be told which tokens are images (Qwen3-VL, from transformers 5 on)."""
    return "mm_token_type_ids" in inspect.signature(model.forward).parameters


def _tokens_per_image(encoded: dict[str, Any], merge_size: int) -> list[int]:
    if not encoded:
        return []
    return [int(grid.prod()) // merge_size**2 for grid in encoded["image_grid_thw"]]
