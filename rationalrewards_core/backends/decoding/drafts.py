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
from .draft_rates import DraftRates, Kind

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
FLOOR: Final = 0.01
"""A draft ends where its chance to be right as a whole falls below this."""
TRUST_STEP: Final = 0.2
"""How fast a row learns how far its drafts can be trusted."""
LEAST_TRUST: Final = 0.2
"""A row whose drafts fail still proposes what it is sure of."""
LONG_RUN: Final = 5
"""Longer agreement with the earlier reply says no more."""
_COUNTS, _BOTH, _READ = range(3)
"""Who proposed a token: the counts, the counts and the earlier reply, the earlier reply against the counts."""
MEMORY_CONTEXTS: Final = 400_000
"""Contexts kept of earlier replies, in two halves, of which the older is dropped: about 100 MB at most."""

MEMORY_REPLIES: Final = 64
"""Requests whose last reply is kept to be read along."""

Counts = dict[int, int]
Context = tuple[int, ...]


@dataclass(frozen=True)
class Draft:
    """Tokens proposed to follow, and for each the chance that the draft is right up to and with it."""

    tokens: tuple[int, ...] = ()
    chances: tuple[float, ...] = ()
    kinds: tuple[Kind, ...] = ()
    """Where each token came from."""

    def cut(self, length: int) -> Draft:
        return Draft(self.tokens[:length], self.chances[:length], self.kinds[:length])


class Continuations:
    """Which token followed each context of one to six tokens, and how often."""

    def __init__(self) -> None:
        self._table: dict[Context, Counts] = {}
        self.after: Callable[[Context], Counts | None] = self._table.get
        """Continuations of exactly this context; None if it never occurred."""

    def __len__(self) -> int:
        return len(self._table)

    def learn(self, tokens: Sequence[int]) -> None:
        """Count every continuation in `tokens`."""
        for position in range(1, len(tokens)):
            self.count(contexts(tokens[max(0, position - ORDER) : position]), tokens[position])

    def count(self, before: Sequence[Context], token: int) -> None:
        """Count that `token` followed each of these contexts."""
        table = self._table
        for context in before:
            counts = table.get(context)
            if counts is None:
                table[context] = {token: 1}
            else:
                counts[token] = counts.get(token, 0) + 1


def contexts(tokens: Sequence[int]) -> list[Context]:
    """What a token that follows `tokens` is counted under: their last one, last two, up to six."""
    ending = tuple(tokens[-ORDER:])
    return [ending[start:] for start in range(len(ending) - 1, -1, -1)]


class ReplyMemory:
    """Continuations of earlier replies, bounded: when half the room is used, the older half is dropped."""

    def __init__(self, contexts: int = MEMORY_CONTEXTS) -> None:
        self._half = contexts // 2
        self._young, self._old = Continuations(), Continuations()
        self._replies: OrderedDict[tuple[int, ...], list[int]] = OrderedDict()
        self._same, self._other = AgreementRates(), AgreementRates()
        self.rates = DraftRates()

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

    def count(self, before: Sequence[Context], token: int) -> None:
        """Count that `token` followed each of these contexts; rows of a batch learn from each other at once."""
        if len(self._young) >= self._half:
            self._young, self._old = Continuations(), self._young
        self._young.count(before, token)

    def after(self, context: Context) -> Counts | None:
        young, old = self._young.after(context), self._old.after(context)
        return _sum(young, old) if young and old else young or old


class Drafter:
    """Drafts for one row: what it said so far, its prompt, and the memory of earlier replies."""

    def __init__(self, prompt: Sequence[int], memory: ReplyMemory, breaks: Callable[[int], bool]) -> None:
        """`breaks` says whether a token ends a line."""
        self._memory, self._own = memory, Continuations()
        self._own.learn(prompt)
        self._context: Context = tuple(prompt[-ORDER:])
        self._reply: list[int] = []
        self._counterpart = memory.counterpart(tuple(prompt), self._reply, breaks)
        self._trust = 1.0
        self._words, self._pairs = frozenset(prompt), frozenset(pairwise(prompt))

    def learn(self, token: int) -> None:
        """The reply's next token."""
        before = contexts(self._context)
        self._own.count(before, token)
        self._memory.count(before, token)
        self._context = _moved(self._context, token)
        self._reply.append(token)
        if self._counterpart is not None:
            self._counterpart.follow(self._reply)

    def verified(self, draft: Draft, accepted: int) -> None:
        """How many of its tokens were right: a judge that draws boldly makes drafts worth less than they seem."""
        for number, kind in enumerate(draft.kinds[: accepted + 1]):
            self._memory.rates.learn(kind, number < accepted)
        if draft.tokens:
            share = min(1.0, accepted / sum(draft.chances))
            self._trust = max(LEAST_TRUST, (1 - TRUST_STEP) * self._trust + TRUST_STEP * share)

    def draft(self, most: int) -> Draft:
        """Up to `most` tokens that are likely to follow."""
        tokens: list[int] = []
        chances: list[float] = []
        kinds: list[Kind] = []
        context, chance, longest = self._context, self._trust, ORDER
        counterpart, rates = self._counterpart, self._memory.rates
        place, run = (0, 0) if counterpart is None else (counterpart.place, counterpart.run)
        while len(tokens) < most:
            token, share, longest = self._likeliest(context, longest)
            kind: Kind = (_COUNTS, longest, int(10 * share))
            rate = rates.rate(kind, share)
            read, read_share = (-1, 0.0) if counterpart is None else counterpart.at(place, run)
            if read == token and read_share:
                kind = (_BOTH, min(run, LONG_RUN), int(10 * share))
                rate = rates.rate(kind, max(share, read_share))
            elif read_share:
                against: Kind = (_READ, min(run, LONG_RUN), 0)
                read_rate = rates.rate(against, read_share)
                if read_rate > rate:
                    token, kind, rate = read, against, read_rate
            place, run = (place + 1, run + 1) if read == token else (place, 0)
            chance *= rate
            if token < 0 or chance < FLOOR:
                break
            tokens.append(token)
            chances.append(chance)
            kinds.append(kind)
            context = _moved(context, token)
        return Draft(tuple(tokens), tuple(chances), tuple(kinds))

    def _likeliest(self, context: Context, longest: int) -> tuple[int, float, int]:
        """The likeliest next token after the longest context that occurred, its share, and how long the next may be.

        No context is looked for that is longer than `longest`. (-1, 0.0, 1) if none occurred.
        """
        own_after, earlier_after = self._own.after, self._memory.after
        for length in range(min(len(context), longest), 0, -1):
            ending = context[-length:]
            own, earlier = own_after(ending), earlier_after(ending)
            if own is None and earlier is None:
                continue
            belief = length / (length + CONFIDENCE)
            if len(own or earlier or ()) == 1 and (own is None or earlier is None or own.keys() == earlier.keys()):
                return next(iter(own or earlier or ())), belief, length + 1
            weights = self._weighed(context[-1], own or {}, earlier or {})
            token = max(weights, key=weights.__getitem__)
            return token, weights[token] / sum(weights.values()) * belief, length + 1
        return -1, 0.0, 1

    def _weighed(self, last: int, own: Counts, earlier: Counts) -> Counts:
        weights = dict(earlier)
        for token, count in own.items():
            weights[token] = weights.get(token, 0) + OWN_WEIGHT * count
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


def _moved(context: Context, token: int) -> Context:
    """The last six tokens after one more."""
    return (*context[1 - ORDER :], token)
