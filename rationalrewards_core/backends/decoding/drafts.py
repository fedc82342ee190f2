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

from .continuations import (
    MASKS,
    ORDER,
    Context,
    Continuations,
    Counts,
    context_of,
    counts_of,
    endings,
    length_of,
    moved,
    summed,
)
from .counterpart import AgreementRates, Counterpart
from .draft_rates import DraftRates, Kind

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
FORESIGHT_CLAIM: Final = 0.5
FORESIGHT_TOO_CLAIM: Final = 0.7
"""How likely it is at first that what the model wrote behind a refused token stays, alone or where others say the same."""
_COUNTS, _BOTH, _READ, _FORESIGHT, _FORESIGHT_TOO = range(5)
"""Who proposed a token: the counts, the counts and the earlier reply, the earlier reply against the counts, the model
behind a refused token against these, or with them."""
MEMORY_CONTEXTS: Final = 400_000
"""Contexts kept of earlier replies, in two halves, of which the older is dropped: about 100 MB at most."""

MEMORY_REPLIES: Final = 64
"""Requests whose last reply is kept to be read along."""


@dataclass(frozen=True)
class Draft:
    """Tokens proposed to follow, and for each the chance that the draft is right up to and with it."""

    tokens: tuple[int, ...] = ()
    chances: tuple[float, ...] = ()
    kinds: tuple[Kind, ...] = ()
    """Where each token came from."""

    def cut(self, length: int) -> Draft:
        return Draft(self.tokens[:length], self.chances[:length], self.kinds[:length])


class ReplyMemory:
    """Continuations of earlier replies, bounded: when half the room is used, the older half is dropped."""

    def __init__(self, contexts: int = MEMORY_CONTEXTS) -> None:
        self._half = contexts // 2
        self._young, self._old = Continuations(), Continuations()
        self._replies: OrderedDict[tuple[int, ...], list[int]] = OrderedDict()
        self._same, self._other = AgreementRates(), AgreementRates()
        self.rates = DraftRates()

    def counterpart(self, prompt: tuple[int, ...], breaks: Callable[[int], bool]) -> Counterpart | None:
        """The last reply to the same words, else the last to any."""
        if same := self._replies.get(prompt):
            return Counterpart(same, self._same, breaks)
        other = next(reversed(self._replies.values()), None)
        return Counterpart(other, self._other, breaks) if other else None

    def keep(self, prompt: tuple[int, ...], reply: list[int]) -> None:
        """Make `reply`, which has begun and grows, the last one to these words."""
        self._replies[prompt] = reply
        self._replies.move_to_end(prompt)
        if len(self._replies) > MEMORY_REPLIES:
            self._replies.popitem(last=False)

    def count(self, before: Sequence[Context], token: int) -> None:
        """Count that `token` followed each of these contexts; rows of a batch learn from each other at once."""
        if len(self._young) >= self._half:
            self._young, self._old = Continuations(), self._young
        self._young.count(before, token)

    def entry(self, context: Context) -> int | Counts | None:
        """As `Continuations.entry`, of all that is kept."""
        young = self._young.entry(context)
        if not len(self._old):
            return young
        old = self._old.entry(context)
        if young is None or old is None:
            return old if young is None else young
        return summed(counts_of(young) or {}, counts_of(old) or {})


class Drafter:
    """Drafts for one row: what it said so far, its prompt, and the memory of earlier replies."""

    def __init__(self, prompt: Sequence[int], memory: ReplyMemory, breaks: Callable[[int], bool]) -> None:
        """`breaks` says whether a token ends a line."""
        self._memory, self._own = memory, Continuations()
        self._own.learn(prompt)
        self._context = context_of(prompt)
        self._reply: list[int] = []
        self._prompt = tuple(prompt)
        self._counterpart = memory.counterpart(self._prompt, breaks)
        self._trust = 1.0
        self._foresight: Sequence[int] = ()
        self._words, self._pairs = frozenset(prompt), frozenset(pairwise(prompt))

    def learn(self, token: int) -> None:
        """The reply's next token."""
        before = endings(self._context)
        self._own.count(before, token)
        self._memory.count(before, token)
        self._context = moved(self._context, token)
        self._reply.append(token)
        if len(self._reply) == 1:  # not before: the rows of a batch are made together and read the batch before along
            self._memory.keep(self._prompt, self._reply)
        if self._counterpart is not None:
            self._counterpart.follow(self._reply)

    def verified(self, draft: Draft, accepted: int, foresight: Sequence[int] = ()) -> None:
        """How many of its tokens were right: a judge that draws boldly makes drafts worth less than they seem.

        `foresight` is what the model wrote behind the refused token, which is often what it will write behind its own
        (as in lookahead decoding, arXiv 2402.02057).
        """
        self._foresight = foresight
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
            if len(tokens) < len(self._foresight):
                token, kind, rate = self._foreseen(len(tokens), token, kind, rate)
            chance *= rate
            if token < 0 or chance < FLOOR:
                break
            tokens.append(token)
            chances.append(chance)
            kinds.append(kind)
            context = moved(context, token)
        return Draft(tuple(tokens), tuple(chances), tuple(kinds))

    def _foreseen(self, number: int, token: int, kind: Kind, rate: float) -> tuple[int, Kind, float]:
        """What the model wrote here behind the refused token, if that is likelier than `token` or the same."""
        guess, run = self._foresight[number], min(number, LONG_RUN)
        if guess == token:
            kind = (_FORESIGHT_TOO, run, int(10 * rate))
            return token, kind, self._memory.rates.rate(kind, max(rate, FORESIGHT_TOO_CLAIM))
        against: Kind = (_FORESIGHT, run, int(10 * rate))
        guess_rate = self._memory.rates.rate(against, FORESIGHT_CLAIM)
        return (guess, against, guess_rate) if guess_rate > rate else (token, kind, rate)

    def _likeliest(self, context: Context, longest: int) -> tuple[int, float, int]:
        """The likeliest next token after the longest context that occurred, its share, and how long the next may be.

        No context is looked for that is longer than `longest`. (-1, 0.0, 1) if none occurred.
        """
        own_entry, earlier_entry = self._own.entry, self._memory.entry
        for length in range(min(length_of(context), longest), 0, -1):
            ending = context & MASKS[length]
            own, earlier = own_entry(ending), earlier_entry(ending)
            if own is None and earlier is None:
                continue
            belief = length / (length + CONFIDENCE)
            token = _only(own, earlier)
            if token is not None:
                return token, belief, length + 1
            weights = self._weighed((context & MASKS[1]) - 1, counts_of(own) or {}, counts_of(earlier) or {})
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


def _only(own: int | Counts | None, earlier: int | Counts | None) -> int | None:
    """The one token that both know, or that the only one knows that knows any; None where there are several."""
    token: int | None = None
    for entry in (own, earlier):
        if entry is None:
            continue
        if not isinstance(entry, int):
            if len(entry) > 1:
                return None
            (entry,) = entry
        if token is not None and token != entry:
            return None
        token = entry
    return token
