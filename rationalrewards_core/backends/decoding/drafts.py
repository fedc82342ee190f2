"""Drafts of what comes next, from n-gram counts: no second model.

What a critique says is rarely new: its headings stand in the rubric, its refined request repeats the user's, and an
earlier critique of the same request said much the same. Any draft is safe, for the model's own choice decides; a good
one saves passes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from .counterpart import AgreementRates, Counterpart

ORDER: Final = 6
"""Longest context, in tokens."""
OWN_WEIGHT: Final = 2
"""A continuation seen in this very reply or prompt counts this many times as much as one of an earlier reply."""
WORD_WEIGHT: Final = 5
"""Continuations that the prompt mentions at all are likelier: a critique speaks of the request."""
PAIR_WEIGHT: Final = 20
"""... and likelier still where the prompt has them after the same token."""
CONFIDENCE: Final = 0.35
"""A context of n tokens is believed n / (n + 0.35): short ones fit anywhere."""
FLOOR: Final = 0.1
"""A draft ends where its chance to be right as a whole falls below this."""
TRUST_STEP: Final = 0.2
"""How fast a row learns how far its drafts can be trusted."""
LEAST_TRUST: Final = 0.2
"""A row whose drafts fail still proposes what it is sure of."""
MEMORY_CONTEXTS: Final = 400_000
"""Contexts kept of earlier replies, in two halves, of which the older is dropped: about 100 MB at most."""

MEMORY_REPLIES: Final = 64
"""Requests whose last reply is kept to be read along."""

Counts = dict[int, int]


@dataclass(frozen=True)
class Draft:
    """Tokens proposed to follow, and for each the chance that the draft is right up to and with it."""

    tokens: tuple[int, ...] = ()
    chances: tuple[float, ...] = ()

    def cut(self, length: int) -> Draft:
        return Draft(self.tokens[:length], self.chances[:length])


class Continuations:
    """Which token followed each context of one to six tokens, and how often."""

    def __init__(self) -> None:
        self._table: dict[tuple[int, ...], Counts] = {}

    def __len__(self) -> int:
        return len(self._table)

    def learn(self, tokens: Sequence[int], start: int = 0) -> None:
        """Count the continuations at positions `start` and after."""
        table = self._table
        for position in range(max(1, start), len(tokens)):
            token = tokens[position]
            for length in range(1, min(ORDER, position) + 1):
                context = tuple(tokens[position - length : position])
                counts = table.get(context)
                if counts is None:
                    table[context] = {token: 1}
                else:
                    counts[token] = counts.get(token, 0) + 1

    def after(self, context: tuple[int, ...]) -> Counts:
        """Continuations of exactly this context; empty if it never occurred."""
        return self._table.get(context, {})


class ReplyMemory:
    """Continuations of earlier replies, bounded: when half the room is used, the older half is dropped."""

    def __init__(self, contexts: int = MEMORY_CONTEXTS) -> None:
        self._half = contexts // 2
        self._young, self._old = Continuations(), Continuations()
        self._replies: OrderedDict[tuple[int, ...], list[int]] = OrderedDict()
        self._same, self._other = AgreementRates(), AgreementRates()

    def counterpart(
        self, prompt: tuple[int, ...], reply: list[int], breaks: Callable[[int], bool]
    ) -> Counterpart | None:
        """The last reply to the same words, else the last to any; `reply`, which grows, takes its place."""
        same = self._replies.pop(prompt, None)
        other = next(reversed(self._replies.values()), None)
        self._replies[prompt] = reply
        if len(self._replies) > MEMORY_REPLIES:
            self._replies.popitem(last=False)
        if same:
            return Counterpart(same, self._same, breaks)
        return Counterpart(other, self._other, breaks) if other else None

    def learn(self, tokens: Sequence[int], start: int = 0) -> None:
        """Count the continuations at positions `start` and after; rows of a batch learn from each other at once."""
        if len(self._young) >= self._half:
            self._young, self._old = Continuations(), self._young
        self._young.learn(tokens, start)

    def after(self, context: tuple[int, ...]) -> Counts:
        young, old = self._young.after(context), self._old.after(context)
        return _sum(young, old) if young and old else young or old


class Drafter:
    """Drafts for one row: what it said so far, its prompt, and the memory of earlier replies."""

    def __init__(self, prompt: Sequence[int], memory: ReplyMemory, breaks: Callable[[int], bool]) -> None:
        """`breaks` says whether a token ends a line."""
        self._memory, self._own = memory, Continuations()
        self._own.learn(prompt)
        self._tokens = list(prompt[-ORDER:])
        self._reply: list[int] = []
        self._counterpart = memory.counterpart(tuple(prompt), self._reply, breaks)
        self._trust = 1.0
        self._words, self._pairs = frozenset(prompt), frozenset(pairwise(prompt))

    def learn(self, token: int) -> None:
        """The reply's next token."""
        self._tokens.append(token)
        self._own.learn(self._tokens, len(self._tokens) - 1)
        self._memory.learn(self._tokens, len(self._tokens) - 1)
        self._reply.append(token)
        if self._counterpart is not None:
            self._counterpart.follow(self._reply)

    def verified(self, draft: Draft, accepted: int) -> None:
        """How many of its tokens were right: a judge that draws boldly makes drafts worth less than they seem."""
        if draft.tokens:
            share = min(1.0, accepted / sum(draft.chances))
            self._trust = max(LEAST_TRUST, (1 - TRUST_STEP) * self._trust + TRUST_STEP * share)

    def draft(self, most: int) -> Draft:
        """Up to `most` tokens that are likely to follow."""
        tokens: list[int] = []
        chances: list[float] = []
        context, chance = tuple(self._tokens[-ORDER:]), self._trust
        counterpart = self._counterpart
        place, run = (0, 0) if counterpart is None else (counterpart.place, counterpart.run)
        while len(tokens) < most:
            token, share = self._likeliest(context)
            if counterpart is not None:
                read, read_share = counterpart.at(place, run)
                if read == token:
                    share = 1.0 - (1.0 - share) * (1.0 - read_share)
                elif read_share > share:
                    token, share = read, read_share
                place, run = (place + 1, run + 1) if read == token else (place, 0)
            chance *= share
            if chance < FLOOR:
                break
            tokens.append(token)
            chances.append(chance)
            context = (*context[1 - ORDER :], token)
        return Draft(tuple(tokens), tuple(chances))

    def _likeliest(self, context: tuple[int, ...]) -> tuple[int, float]:
        """The likeliest next token after the longest context that occurred, and its share; (-1, 0.0) if none did."""
        for length in range(len(context), 0, -1):
            ending = context[-length:]
            own, earlier = self._own.after(ending), self._memory.after(ending)
            if own or earlier:
                weights = self._weighed(context[-1], own, earlier)
                token = max(weights, key=weights.__getitem__)
                return token, weights[token] / sum(weights.values()) * length / (length + CONFIDENCE)
        return -1, 0.0

    def _weighed(self, last: int, own: Counts, earlier: Counts) -> Counts:
        weights = _sum({token: OWN_WEIGHT * count for token, count in own.items()}, earlier)
        if len(weights) == 1:
            return weights
        return {token: count * self._prompt_weight(last, token) for token, count in weights.items()}

    def _prompt_weight(self, last: int, token: int) -> int:
        if (last, token) in self._pairs:
            return PAIR_WEIGHT
        return WORD_WEIGHT if token in self._words else 1


def _sum(first: Counts, second: Counts) -> Counts:
    total = dict(first)
    for token, count in second.items():
        total[token] = total.get(token, 0) + count
    return total
