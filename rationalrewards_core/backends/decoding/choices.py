"""The model's own choice at every position of a pass, and its best choice among what a grammar allows.

Greedy rows take the likeliest token. Drawn rows take the token at a random share of the cumulated probabilities, one
share per position of the reply: what is drawn does not depend on drafts, so drafting leaves the distribution exact
(speculative sampling, arXiv 2211.17192, with a draft that is certain of itself).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Any, Final

LARGEST_SHARE: Final = 1.0 - 2.0**-24
"""The largest number below 1 in fp32: a share that is rounded up to 1 would leave no token to take."""

FEW: Final = 64
"""Tokens whose probabilities are computed one by one."""


@dataclass(frozen=True)
class Draw:
    """How one row draws its tokens."""

    temperature: float
    """0 takes the likeliest token."""
    seed: int

    def share(self, position: int, attempt: int) -> float:
        """The random share in [0, 1) for a position of the reply; a second attempt is independent of the first."""
        return min(LARGEST_SHARE, random.Random(f"{self.seed}:{position}:{attempt}").random())


class Choices:
    """Logits [rows, width, vocabulary] of one pass, whose rows stand at `positions` of their replies."""

    def __init__(self, logits: Any, draws: Sequence[Draw], positions: Sequence[int]) -> None:
        self._logits, self._draws, self._positions = logits, draws, positions
        self._own: list[list[int]] = logits.argmax(dim=-1).tolist()
        for row, draw in enumerate(draws):
            if draw.temperature > 0.0:
                shares = [draw.share(positions[row] + at, 0) for at in range(logits.shape[1])]
                self._own[row] = _drawn(logits[row].float() / draw.temperature, shares)

    def own(self, row: int, at: int) -> int:
        """What the model writes at position `at` of the pass."""
        return self._own[row][at]

    def among(self, row: int, at: int, allowed: Any) -> int:
        """What it writes where only `allowed` ([vocabulary], boolean) may stand."""
        logits = self._masked(row, at, allowed)
        draw = self._draws[row]
        if draw.temperature == 0.0:
            return int(logits.argmax())
        return _drawn(logits[None] / draw.temperature, [draw.share(self._positions[row] + at, 1)])[0]

    def likeliest(self, places: Sequence[tuple[int, int, Any]], count: int) -> list[list[tuple[int, float]]]:
        """For each (row, at, allowed or None) the `count` most likely tokens with their probabilities."""
        import torch

        allowed_ids = [allowed.nonzero()[:, 0].tolist() for _, _, allowed in places if allowed is not None]
        if len(allowed_ids) == len(places) and all(len(ids) <= FEW for ids in allowed_ids):
            return self._likeliest_of_few(places, allowed_ids, count)
        stack = torch.stack([self._masked(row, at, allowed) for row, at, allowed in places])
        top = stack.softmax(dim=-1).topk(min(count, stack.shape[-1]), dim=-1)
        pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        return [[(t, p) for t, p in zip(tokens, shares, strict=True) if p > 0.0] for tokens, shares in pairs]

    def _likeliest_of_few(
        self, places: Sequence[tuple[int, int, Any]], allowed_ids: Sequence[Sequence[int]], count: int
    ) -> list[list[tuple[int, float]]]:
        """The same where a grammar leaves only digits: a handful of logits instead of rows of the whole vocabulary."""
        cells = [(row, at, token) for (row, at, _), ids in zip(places, allowed_ids, strict=True) for token in ids]
        logits = iter(self._logits[tuple(map(list, zip(*cells, strict=True)))].tolist())
        tables = []
        for ids in allowed_ids:
            own = list(islice(logits, len(ids)))
            highest = max(own)
            weights = [math.exp(logit - highest) for logit in own]
            table = sorted(zip(ids, weights, strict=True), key=itemgetter(1), reverse=True)[:count]
            total = sum(weights)
            tables.append([(token, weight / total) for token, weight in table if weight > 0.0])
        return tables

    def _masked(self, row: int, at: int, allowed: Any) -> Any:
        logits = self._logits[row, at].float()
        return logits if allowed is None else logits.masked_fill(~allowed.to(logits.device), float("-inf"))


def _drawn(logits: Any, shares: Sequence[float]) -> list[int]:
    """One token per line of `logits` [positions, vocabulary], at the given share of the cumulated probabilities."""
    import torch

    cumulated = logits.softmax(dim=-1).cumsum(dim=-1)
    levels = torch.tensor(shares, device=logits.device, dtype=cumulated.dtype)[:, None] * cumulated[:, -1:]
    return [int(token) for token in (cumulated > levels).int().argmax(dim=-1).tolist()]
