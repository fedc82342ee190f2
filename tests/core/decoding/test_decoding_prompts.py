"""Prompts: the ids that transformers' way gives, rotary positions as transformers counts them, common beginnings."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from rationalrewards_core.backends.decoding.image_features import VisionTower
from rationalrewards_core.backends.decoding.prompts import Prompt, PromptReader, common_length
from rationalrewards_core.backends.qwen_chat import model_inputs
from rationalrewards_core.messages import Message
from tests.core.decoding.random_checkpoint import asked, picture, random_checkpoint

CONVERSATIONS = {
    "text": asked("Nothing to see."),
    "one picture": asked("What ", picture(1), " is it?"),
    "wide and tall": asked(picture(2, 60, 16), " or ", picture(3, 16, 40)),
    "side by side": asked("Both: ", picture(4, 40, 20), picture(5), picture(4, 40, 20)),
    "with a system's turn": [Message("system", ("Judge.",)), Message("user", (picture(6, 20, 36), "?"))],
}


def read(messages: Sequence[Message]) -> Prompt:
    checkpoint = random_checkpoint(0)
    vision = VisionTower(checkpoint.model.model, checkpoint.image_processor, "cpu")
    return PromptReader(checkpoint, vision).prompt(messages)


@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_ids_and_rotary_positions_are_those_of_transformers(messages: list[Message]) -> None:
    prompt, inputs = read(messages), model_inputs(random_checkpoint(0), [messages])
    assert list(prompt.ids) == inputs["input_ids"][0].tolist()
    rope = random_checkpoint(0).model.model.get_rope_index
    known = inspect.signature(rope).parameters
    options = {"image_grid_thw": inputs.get("image_grid_thw"), "attention_mask": inputs["attention_mask"]}
    if "mm_token_type_ids" in known:
        options["mm_token_type_ids"] = inputs["mm_token_type_ids"]
    positions, deltas = rope(inputs["input_ids"], **options)
    assert torch.equal(prompt.positions, positions[:, 0])
    assert prompt.shift == int(deltas[0])
    assert (prompt.shift < 0) == bool(prompt.pictures)


def test_content_tells_pictures_apart_and_equal_ones_together() -> None:
    one, same, other = (read(asked("Is ", picture(n), " red?")) for n in (1, 1, 2))
    assert one.ids == other.ids
    assert one.content == same.content
    assert one.content != other.content
    assert common_length(one.content, other.content) == one.ids.index(one.image_token)
    assert len(one.content) == len(one) == len(one.words) + one.ids.count(one.image_token)


def test_common_beginnings() -> None:
    assert common_length([1, 2, 3], [1, 2, 4, 5]) == 2
    assert common_length([1, 2], [1, 2, 3]) == 2
    assert common_length([], [1]) == 0


def test_pictures_after_a_place() -> None:
    prompt = read(asked("a", picture(1), "b", picture(2), "c"))
    first = prompt.ids.index(prompt.image_token)
    last = len(prompt) - prompt.ids[::-1].index(prompt.image_token)
    assert prompt.pictures_after(0) == prompt.pictures_after(first) == prompt.pictures
    assert prompt.pictures_after(first + 9) == prompt.pictures[1:]
    assert prompt.pictures_after(last) == ()
