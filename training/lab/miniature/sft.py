"""Supervised fine-tuning of the miniature: batches of critiques, loss on the answer only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from rationalrewards_core.backends.qwen_chat import IMAGE_TOKEN, chat_text, expand_images
from rationalrewards_core.messages import UserRequest, critique_messages
from rationalrewards_core.miniature.flaws import Example, Picture, sample_edited, sample_generation
from rationalrewards_core.rubric import Kind, Rubric

from .student import GRID, IMAGE_TOKENS, answer_text
from .vision import Seen, patches, tower


@dataclass(frozen=True)
class TokenBatch:
    """B examples, padded on the right to T tokens."""

    ids: Tensor
    """[B, T]."""
    answer: Tensor
    """[B, T] True where a token belongs to the answer (and is predicted)."""
    positions: Tensor
    """[3, B, T] M-RoPE positions."""
    pixels: Tensor
    """[images, patches, 96]; per example the source (if any), then the candidate."""
    candidates: Tensor
    """[B] index of each example's candidate among the images."""
    examples: list[Example]


def prompt_text(tokeniser: PreTrainedTokenizerFast, example: Example, rubrics: dict[Kind, Rubric]) -> str:
    """The prompt exactly as the scorer will send it, images expanded."""
    sources = () if example.source is None else (Image.fromarray(example.source),)
    rubric = rubrics["edit" if sources else "generation"]
    messages = critique_messages(UserRequest(example.request, sources), Image.fromarray(example.picture), rubric)
    return expand_images(chat_text(tokeniser, messages), [IMAGE_TOKENS] * (1 + len(sources)))


class BatchMaker:
    """Turns examples into length-bucketed batches; chunk `i` is the same in every run."""

    def __init__(
        self,
        model: Any,
        tokeniser: PreTrainedTokenizerFast,
        rubrics: dict[Kind, Rubric],
        size: int,
        answer: Callable[[Example], str] = answer_text,
    ) -> None:
        """`answer` is the critique that an example teaches."""
        self._model, self._tokeniser, self._rubrics, self._size = model, tokeniser, rubrics, size
        self._answer = answer
        self._image_id = tokeniser.convert_tokens_to_ids(IMAGE_TOKEN)

    def sample(
        self,
        rng: np.random.Generator,
        count: int,
        edits: float,
        drawings: Sequence[Example] = (),
        drawn_share: float = 0.0,
    ) -> list[Example]:
        """Training examples: `drawn_share` of them from `drawings`; of the others, `edits` are edit requests."""
        batch = []
        for _ in range(count):
            if drawings and rng.random() < drawn_share:
                batch.append(drawings[int(rng.integers(len(drawings)))])
            else:
                batch.append(sample_edited(rng) if rng.random() < edits else sample_generation(rng))
        return batch

    def steps(
        self,
        draw: Callable[[np.random.Generator, int], list[Example]],
        stream: Sequence[int],
        span: range,
        chunk: int,
    ) -> Iterator[tuple[int, TokenBatch]]:
        """The steps of `span` with their batches: step `i` of a stream of random numbers has the same one in every run.

        `draw(rng, count)` makes the examples of `chunk` batches, which are bucketed by length together.
        """
        for first in range(span.start - span.start % chunk, span.stop, chunk):
            rng = np.random.default_rng([*stream, first])
            for step, batch in enumerate(self.bucketed(draw(rng, self._size * chunk), rng), first):
                if step in span:
                    yield step, batch

    def bucketed(self, examples: list[Example], rng: np.random.Generator) -> Iterator[TokenBatch]:
        """Batches of examples of similar length, in random order."""
        encoded = [self._encode(example) for example in examples]
        order = sorted(range(len(examples)), key=lambda i: len(encoded[i][0]))
        starts = rng.permutation(range(0, len(order) - self._size + 1, self._size))
        for start in starts:
            batch = order[start : start + self._size]
            yield self._collate([examples[i] for i in batch], [encoded[i] for i in batch])

    def _encode(self, example: Example) -> tuple[list[int], int]:
        prompt = self._tokeniser(
            prompt_text(self._tokeniser, example, self._rubrics), add_special_tokens=False
        ).input_ids
        answer = self._tokeniser(self._answer(example), add_special_tokens=False).input_ids
        return [*prompt, *answer, self._tokeniser.eos_token_id], len(prompt)

    def _collate(self, examples: list[Example], encoded: list[tuple[list[int], int]]) -> TokenBatch:
        longest = max(len(ids) for ids, _ in encoded)
        ids = torch.full((len(encoded), longest), self._tokeniser.pad_token_id)
        answer = torch.zeros(ids.shape, dtype=torch.bool)
        for row, (tokens, prompt) in enumerate(encoded):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            answer[row, prompt : len(tokens)] = True
        pictures: list[Picture] = []
        candidates = []
        for example in examples:
            pictures += [example.source] if example.source is not None else []
            candidates.append(len(pictures))
            pictures.append(example.picture)
        grid = torch.tensor([[1, GRID, GRID]]).repeat(len(pictures), 1)
        kinds = (ids == self._image_id).int()
        positions = self._model.model.get_rope_index(ids, mm_token_type_ids=kinds, image_grid_thw=grid)[0]
        return TokenBatch(ids, answer, positions, patches(np.stack(pictures)), torch.tensor(candidates), examples)


def answer_loss(model: Any, batch: TokenBatch, *, frozen_tower: bool = False) -> tuple[Tensor, Seen]:
    """Mean cross-entropy over answer tokens (nats), and what the tower saw (for the dense loss)."""
    features = tower(model.model.visual, batch.pixels, frozen=frozen_tower)
    language = model.model.language_model
    embedded = language.embed_tokens(batch.ids)
    image_mask = batch.ids == model.config.image_token_id
    embedded = embedded.masked_scatter(image_mask[..., None], features.merged.flatten(0, 1).to(embedded.dtype))
    hidden = language(
        inputs_embeds=embedded,
        position_ids=batch.positions,
        attention_mask=None,
        visual_pos_masks=image_mask,
        deepstack_visual_embeds=[level.flatten(0, 1) for level in features.deepstack],
        use_cache=False,
    ).last_hidden_state
    predicting = torch.zeros_like(batch.answer)
    predicting[:, :-1] = batch.answer[:, 1:]
    logits = model.lm_head(hidden[predicting])
    return F.cross_entropy(logits.float(), batch.ids[batch.answer]), features
