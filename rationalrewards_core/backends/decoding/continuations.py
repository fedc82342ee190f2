"""Which token followed which: counts of n-grams, the only thing that drafts know of language."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

ORDER: Final = 6
"""Longest context, in tokens."""

Counts = dict[int, int]
Context = int
"""One to six tokens as one number, the last one in its lowest bits: cut and hashed faster than a tuple of them."""

TOKEN_BITS: Final = 24
"""Bits that a token takes in a context, as its id plus one: contexts of different lengths are different numbers."""
MASKS: Final = tuple((1 << TOKEN_BITS * length) - 1 for length in range(ORDER + 1))


class Continuations:
    """Which token followed each context of one to six tokens, and how often."""

    def __init__(self) -> None:
        self._table: dict[Context, int | Counts] = {}
        self.entry: Callable[[Context], int | Counts | None] = self._table.get
        """Continuations of exactly this context (`counts_of`); None if it never occurred.

        One that was counted once is the token itself: most contexts have no other, and need no dictionary.
        """

    def __len__(self) -> int:
        return len(self._table)

    def learn(self, tokens: Sequence[int]) -> None:
        """Count every continuation in `tokens`."""
        before = 0
        for token in tokens:
            self.count(endings(before), token)
            before = moved(before, token)

    def count(self, before: Sequence[Context], token: int) -> None:
        """Count that `token` followed each of these contexts."""
        entry_of, table = self.entry, self._table
        for context in before:
            entry = entry_of(context)
            if entry is None:
                table[context] = token
            elif isinstance(entry, int):
                table[context] = {token: 2} if entry == token else {entry: 1, token: 1}
            else:
                entry[token] = entry.get(token, 0) + 1


def counts_of(entry: int | Counts | None) -> Counts | None:
    return {entry: 1} if isinstance(entry, int) else entry


def moved(context: Context, token: int) -> Context:
    """The last six tokens after one more; 0 is the context of nothing."""
    return (context << TOKEN_BITS | token + 1) & MASKS[ORDER]


def context_of(tokens: Sequence[int]) -> Context:
    """The last six tokens of a sequence, or all of a shorter one."""
    context = 0
    for token in tokens[-ORDER:]:
        context = moved(context, token)
    return context


def endings(context: Context) -> list[Context]:
    """What a token that follows is counted under: the last token, the last two, up to six."""
    if context > MASKS[ORDER - 1]:
        return [context & mask for mask in MASKS[1:]]
    return [context & mask for mask in MASKS[1 : length_of(context) + 1]]


def length_of(context: Context) -> int:
    """How many tokens it has."""
    return -(-context.bit_length() // TOKEN_BITS)


def summed(first: Counts, second: Counts) -> Counts:
    total = dict(first)
    for token, count in second.items():
        total[token] = total.get(token, 0) + count
    return total
