"""What one row is asked: token ids, where its pictures stand, and the rotary positions they shift."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any

from ...messages import Message
from ..qwen_chat import IMAGE_TOKEN, chat_text, expand_images
from .image_features import Picture, VisionTower

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint


@dataclass(frozen=True)
class Prompt:
    """One row's prompt."""

    ids: tuple[int, ...]
    pictures: tuple[Picture, ...]
    image_token: int
    merge: int
    """Patches per image token, along one side."""

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def words(self) -> list[int]:
        """The ids without the image tokens."""
        return [token for token in self.ids if token != self.image_token]

    @cached_property
    def _runs(self) -> list[tuple[Picture | None, int]]:
        """The prompt as runs of tokens, each with its length: of one picture, or of text (None)."""
        pictures = iter(self.pictures)
        runs = groupby(self.ids, lambda token: token == self.image_token)
        return [(next(pictures) if is_image else None, len(list(run))) for is_image, run in runs]

    @cached_property
    def content(self) -> list[Hashable]:
        """What each position holds: a token, or a picture's key. Equal beginnings have equal keys and values."""
        content: list[Hashable] = []
        for picture, length in self._runs:
            start = len(content)
            content += self.ids[start : start + length] if picture is None else [picture.key] * length
        return content

    @cached_property
    def positions(self) -> Any:
        """Rotary positions [3, length]: time, height, width.

        A picture of h x w tokens takes the steps of its longer side only (M-RoPE, arXiv 2409.12191, section 2.1).
        """
        import torch

        parts, step = [], 0
        for picture, length in self._runs:
            if picture is None:
                parts.append((torch.arange(length) + step).expand(3, -1))
                step += length
                continue
            _, height, width = picture.grid
            height, width = height // self.merge, width // self.merge
            rows = torch.arange(height).repeat_interleave(width)
            columns = torch.arange(width).repeat(height)
            parts.append(torch.stack([torch.zeros_like(rows), rows, columns]) + step)
            step += max(height, width)
        return torch.cat(parts, dim=1)

    @cached_property
    def shift(self) -> int:
        """How far the positions of text after the prompt are shifted by its pictures; zero or negative."""
        return int(self.positions.max()) + 1 - len(self)

    def pictures_after(self, start: int) -> tuple[Picture, ...]:
        """The pictures whose tokens stand at `start` or after; none stands on both sides of it."""
        ends = accumulate(length for _, length in self._runs)
        return tuple(p for (p, _), end in zip(self._runs, ends, strict=True) if p is not None and end > start)


class PromptReader:
    """Messages to prompts, by the checkpoint's own chat template and image processor."""

    def __init__(self, checkpoint: Checkpoint, vision: VisionTower) -> None:
        self._tokeniser, self._vision = checkpoint.tokeniser, vision
        self._merge = int(checkpoint.image_processor.merge_size)
        self._image_token = int(checkpoint.tokeniser.convert_tokens_to_ids(IMAGE_TOKEN))

    def prompt(self, messages: Sequence[Message]) -> Prompt:
        """Raises RequestError where a picture or the chat template cannot be used."""
        pictures = tuple(self._vision.picture(image) for m in messages for image in m.images)
        tokens = [t * h * w // self._merge**2 for t, h, w in (p.grid for p in pictures)]
        text = expand_images(chat_text(self._tokeniser, messages), tokens)
        ids = self._tokeniser(text, add_special_tokens=False)["input_ids"]
        return Prompt(tuple(ids), pictures, self._image_token, self._merge)


def common_length(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """How many positions two prompts have in common from the start."""
    for position, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return position
    return min(len(first), len(second))
