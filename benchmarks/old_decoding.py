"""How the local engine decoded before it had a loop of its own: `generate()` with a processor for everything.

Kept for comparison: grammar mask, probabilities and stop texts at every single token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rationalrewards_core.backends.base import TokenChoice

TAIL_TOKENS = 16
"""Tokens decoded to look for a stop text; no stop text of ours is longer."""


class GrammarMask:
    """A logits processor that leaves only tokens the grammar allows, row by row."""

    def __init__(self, compiled: Any, rows: int, vocabulary: int) -> None:
        import xgrammar

        self._xgrammar = xgrammar
        self._matchers: list[Any] = [xgrammar.GrammarMatcher(compiled) for _ in range(rows)]
        self._bitmask = xgrammar.allocate_token_bitmask(rows, vocabulary)
        self._started = False
        self._ended = [False] * rows

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        for row, matcher in enumerate(self._matchers):
            if self._ended[row]:
                continue
            # A row that ended keeps receiving padding, which no grammar accepts.
            refused = self._started and not matcher.accept_token(int(input_ids[row, -1]))
            self._ended[row] = refused or matcher.is_terminated()
        self._started = True
        live = [row for row, ended in enumerate(self._ended) if not ended]
        self._bitmask.fill_(-1)
        for row in live:
            self._matchers[row].fill_next_token_bitmask(self._bitmask, row)
        if live:
            self._xgrammar.apply_token_bitmask_inplace(scores, self._bitmask.to(scores.device), indices=live)
        return scores


class Alternatives:
    """A logits processor that changes nothing and remembers the most likely tokens of every step."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._steps: list[tuple[Any, Any]] = []

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        top = scores.float().softmax(dim=-1).topk(min(self._count, scores.shape[-1]), dim=-1)
        self._steps.append((top.values.cpu(), top.indices.cpu()))
        return scores

    def of_row(self, row: int, ids: Sequence[int], decode: Callable[[int], str]) -> tuple[TokenChoice, ...]:
        """The reply's tokens with their alternatives; `ids` are the row's generated tokens."""
        choices = []
        for token, (values, indices) in zip(ids, self._steps, strict=False):
            pairs = zip(indices[row].tolist(), values[row].tolist(), strict=True)
            choices.append(TokenChoice(decode(token), tuple((decode(i), p) for i, p in pairs if p > 0.0)))
        return tuple(choices)


class StepWatch:
    """A stopping criterion per row: stop texts, cancelled jobs, interruption; reports progress."""

    def __init__(
        self,
        tokeniser: Any,
        prompt_length: int,
        stops: Sequence[str],
        cancelled: Callable[[int], bool],
        progress: Callable[[int], None],
    ) -> None:
        self._tokeniser, self._start, self._stops = tokeniser, prompt_length, tuple(stops)
        self._cancelled, self._progress = cancelled, progress

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        import torch

        self._progress(input_ids.shape[1] - self._start)
        ends = [self._cancelled(row) or self._stopped(input_ids[row]) for row in range(input_ids.shape[0])]
        return torch.tensor(ends, dtype=torch.bool, device=input_ids.device)

    def _stopped(self, ids: Any) -> bool:
        if not self._stops:
            return False
        tail = self._tokeniser.decode(ids[max(self._start, len(ids) - TAIL_TOKENS) :], skip_special_tokens=True)
        return any(stop in tail for stop in self._stops)
