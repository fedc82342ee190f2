"""Records -> tokens and patches, through the very functions that the engine encodes requests with.

The prompt is encoded by `qwen_chat.model_inputs`; the answer follows as its own tokens and ends with the tokeniser's
end of turn, which is where the engine stops. So the student learns on the tokens it will see and must write.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from rationalrewards_core.backends.checkpoint import Checkpoint
from rationalrewards_core.backends.qwen_chat import IMAGE_TOKEN, chat_text, model_inputs, takes_token_kinds
from rationalrewards_core.backends.special_tokens import special_ids
from rationalrewards_core.errors import ConfigError, RequestError
from rationalrewards_core.images import MAX_PIXELS, image_header

from .records import ChatRecord

IGNORED = -100
"""Label of a token that is not learned."""


@dataclass(frozen=True)
class EncodedExample:
    """One example of T tokens."""

    ids: Tensor
    """[T] prompt, answer, end of turn."""
    prompt: int
    """Tokens of the prompt."""
    pixels: Tensor | None
    """[patches, width of a patch]; None without images, or where none of them has to be seen again."""
    grids: Tensor | None
    """[images, 3]."""
    images: tuple[str, ...] = ()
    """The images' files."""

    def unseen(self) -> EncodedExample:
        """The same without its patches."""
        return replace(self, pixels=None)


@dataclass(frozen=True)
class ExampleBatch:
    """B examples, padded on the right to T tokens."""

    inputs: dict[str, Tensor]
    """What the model's `forward` takes: input_ids and attention_mask [B, T], patches, grids, token kinds."""
    labels: Tensor
    """[B, T] token ids of the answers, IGNORED elsewhere."""
    images: tuple[str, ...] = ()
    """Files of the batch's images, in the order of their grids."""
    has_patches: tuple[bool, ...] = ()
    """Whether the patches of each are among the inputs."""

    @property
    def answer_tokens(self) -> int:
        return int((self.labels != IGNORED).sum())

    def to(self, device: Any) -> ExampleBatch:
        inputs = {name: value.to(device, non_blocking=True) for name, value in self.inputs.items()}
        return replace(self, inputs=inputs, labels=self.labels.to(device))


class Encoder:
    """Encodes for one checkpoint; holds its tokeniser and image processor, and of the model only its class."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        tokeniser = checkpoint.tokeniser
        if tokeniser.eos_token_id not in checkpoint.stop_ids:
            raise ConfigError(
                f"This checkpoint's end of turn ({tokeniser.eos_token!r}) is not among the tokens that end a reply in "
                "its generation_config.json; a student of it would never stop."
            )
        # The class answers what `forward` takes, and is cheap to send to a worker process.
        self._source = Checkpoint(type(checkpoint.model), tokeniser, checkpoint.image_processor, "cpu")
        self._image_id = tokeniser.convert_tokens_to_ids(IMAGE_TOKEN)
        self._kinds = takes_token_kinds(checkpoint.model)
        self._marks = [str(tokeniser.convert_ids_to_tokens(index)) for index in special_ids(tokeniser, ())]

    def __call__(self, record: ChatRecord) -> EncodedExample:
        inputs = model_inputs(self._source, [record.messages()])
        prompt = inputs["input_ids"][0]
        ids = torch.cat([prompt, torch.tensor(self._answer(record))])
        images = tuple(str(path) for path in record.images)
        return EncodedExample(ids, len(prompt), inputs.get("pixel_values"), inputs.get("image_grid_thw"), images)

    def length(self, record: ChatRecord) -> int:
        """Tokens of a record without reading its images: their headers say their size. ConfigError for what is no example."""
        mark = next((mark for mark in self._marks if any(mark in text for text in record.texts)), None)
        if mark is not None:
            raise ConfigError(
                f"{record.origin}: a text holds {mark}, which would be read as a mark of the chat; take it out."
            )
        text = chat_text(self._source.tokeniser, list(record.turns))  # type: ignore[misc]
        prompt = self._source.tokeniser(text, add_special_tokens=False).input_ids
        extra = sum(self._image_tokens(path) - 1 for path in record.images)
        return len(prompt) + extra + len(self._answer(record))

    def collate(self, examples: list[EncodedExample]) -> ExampleBatch:
        longest = max(len(example.ids) for example in examples)
        ids = torch.full((len(examples), longest), self._source.tokeniser.pad_token_id)
        mask = torch.zeros(ids.shape, dtype=torch.long)
        labels = torch.full(ids.shape, IGNORED)
        for row, example in enumerate(examples):
            ids[row, : len(example.ids)] = example.ids
            mask[row, : len(example.ids)] = 1
            labels[row, example.prompt : len(example.ids)] = example.ids[example.prompt :]
        inputs = {"input_ids": ids, "attention_mask": mask}
        grids = [example.grids for example in examples if example.grids is not None]
        pixels = [example.pixels for example in examples if example.pixels is not None]
        if grids:
            inputs["pixel_values"] = torch.cat(pixels) if pixels else torch.empty(0, 1)
            inputs["image_grid_thw"] = torch.cat(grids)
        if self._kinds:
            inputs["mm_token_type_ids"] = (ids == self._image_id).int()
        images = tuple(image for example in examples for image in example.images)
        with_pixels = tuple(example.pixels is not None for example in examples for _ in example.images)
        return ExampleBatch(inputs, labels, images, with_pixels)

    def _answer(self, record: ChatRecord) -> list[int]:
        tokeniser = self._source.tokeniser
        return [*tokeniser(record.answer, add_special_tokens=False).input_ids, tokeniser.eos_token_id]

    def _image_tokens(self, path: Any) -> int:
        processor = self._source.image_processor
        try:
            _, (width, height) = image_header(path, MAX_PIXELS)
        except RequestError as error:
            raise ConfigError(str(error)) from error
        return int(processor.get_number_of_image_patches(height, width)) // processor.merge_size**2
