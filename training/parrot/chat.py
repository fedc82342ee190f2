"""A critique as a training example, in the chat formats that trainers read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

from PIL import Image

from rationalrewards_core.messages import Message

ChatFormat = Literal["chat", "trl", "llamafactory", "swift"]
FORMATS: Final[tuple[ChatFormat, ...]] = ("chat", "trl", "llamafactory", "swift")
MARKED: Final = frozenset({"llamafactory", "swift"})
"""Formats of plain text with marks for images; they differ by the table that LLaMA-Factory wants beside the rows."""
IMAGE_MARK: Final = "<image>"
"""What LLaMA-Factory and ms-swift put an image for; user text cannot hold it (`messages.defused`)."""


def chat_rows(messages: Sequence[Message], answer: str, images: Sequence[str], form: ChatFormat) -> dict[str, Any]:
    """`messages` and `images` of one example. `images` are the paths of the messages' images, in reading order.

    chat: parts with text or an image's path. trl: `prompt` and `completion`, so that TRL's loss falls on the answer
    alone; parts without paths, images by their order. llamafactory, swift: plain text with `<image>` marks. ValueError if the
    number of paths is not that of the images.
    """
    paths = iter(images)
    turns = [_turn(message, paths, form) for message in messages]
    if next(paths, None) is not None:
        raise ValueError("there are more image paths than images in the messages")
    content: Any = answer if form in MARKED else [{"type": "text", "text": answer}]
    reply = {"role": "assistant", "content": content}
    chat = {"prompt": turns, "completion": [reply]} if form == "trl" else {"messages": [*turns, reply]}
    return {**chat, "images": list(images)}


def _turn(message: Message, paths: Iterator[str], form: ChatFormat) -> dict[str, Any]:
    if form in MARKED:
        content: Any = "".join(part if isinstance(part, str) else _marked(paths) for part in message.parts)
    else:
        content = [_part(part, paths, form) for part in message.parts]
    return {"role": message.role, "content": content}


def _marked(paths: Iterator[str]) -> str:
    next(paths)
    return IMAGE_MARK


def _part(part: str | Image.Image, paths: Iterator[str], form: ChatFormat) -> dict[str, str]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    path = next(paths)
    return {"type": "image"} if form == "trl" else {"type": "image", "image": path}


def dataset_table(splits: Sequence[str]) -> dict[str, Any]:
    """LLaMA-Factory's dataset_info.json for an exported folder."""
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    return {
        f"parrot_{split}": {
            "file_name": f"{split}.jsonl",
            "formatting": "sharegpt",
            "columns": {"messages": "messages", "images": "images"},
            "tags": {**tags, "system_tag": "system"},
        }
        for split in splits
    }
