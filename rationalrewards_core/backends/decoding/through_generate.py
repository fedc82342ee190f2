"""Model families that the decoding loop does not know: one token a pass, by transformers' own `generate()`.

Rows choose their tokens exactly as in the loop (grammar, draws, stop texts, alternatives); `generate()` only computes
the logits, with the model's own kind of cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ...messages import Message
from ..base import Sampling
from ..qwen_chat import Conversation, padded_inputs, read_conversation
from .choices import Choices
from .drafts import Draft
from .row_maker import RowMaker
from .rows import Row

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint


class GenerateDecoder:
    """Replies of any checkpoint that transformers can generate with, several at a time."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint, self._maker = checkpoint, RowMaker(checkpoint)

    def row(self, messages: Sequence[Message], sampling: Sampling) -> Row:
        """A reply to write; whatever is raised here concerns this one only."""
        conversation = read_conversation(self._checkpoint, messages)
        tokens = self._checkpoint.tokeniser(conversation.text, add_special_tokens=False)["input_ids"]
        return self._maker.row(sampling, len(tokens), prompt=conversation)

    def run(self, rows: Sequence[Row], after_pass: Callable[[], None] = lambda: None) -> None:
        """Write every row to its end. `after_pass` may cancel rows, or raise to end the whole."""
        import torch

        conversations = [row.prompt for row in rows if isinstance(row.prompt, Conversation)]
        inputs = padded_inputs(self._checkpoint, conversations)
        steps = _Steps(rows, after_pass, self._checkpoint.tokeniser.pad_token_id)
        with torch.inference_mode():
            self._checkpoint.model.generate(
                **inputs,
                max_new_tokens=max(row.room for row in rows),
                do_sample=False,
                logits_processor=[steps],
                stopping_criteria=[steps.ended],
            )


class _Steps:
    """A logits processor that lets each row choose, and a stopping criterion that ends the rows that have ended."""

    def __init__(self, rows: Sequence[Row], after_pass: Callable[[], None], padding: int) -> None:
        self._rows, self._after_pass, self._padding = rows, after_pass, padding

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        choices = Choices(scores[:, None], [row.draw for row in self._rows], [len(row.ids) for row in self._rows])
        forced = [self._padding] * len(self._rows)
        for number, row in enumerate(self._rows):
            if row.live:
                row.take(choices, number, Draft())
                forced[number] = row.ids[-1] if row.ids else self._padding
        self._after_pass()
        scores = scores.new_full(scores.shape, float("-inf"))
        for number, token in enumerate(forced):
            scores[number, token] = 0.0
        return scores

    def ended(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        """[rows] boolean, True where a row needs no further token."""
        import torch

        return torch.tensor([not row.live for row in self._rows], device=input_ids.device)
