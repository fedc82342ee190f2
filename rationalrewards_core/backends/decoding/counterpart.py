"""An earlier reply that is read along: where the new one says the same again, the next token stands there already.

Counts of continuations know what followed a few tokens anywhere; this knows the place. Replies are read line by line,
for a critique's headings begin lines: a sentence is looked for in its own section only, and whatever it said, after it
comes the next heading.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

LONGEST_MATCH: Final = 4
"""Tokens that are compared where a line may go on: more of them say no more."""
NEAR: Final = 24
"""A place in the line this much farther away must match by one token more."""
OPENING: Final = 8
"""A line that begins otherwise than expected may still turn out to be another one within so many tokens."""


class AgreementRates:
    """How often the earlier reply was right, by how many of its tokens in a row were right before."""

    def __init__(self) -> None:
        # As if a few tokens had been seen already: the first kind is right after a difference.
        self._right, self._total = [3.0, 5.0, 6.0, 7.0, 7.5, 15.0], [8.0, 8.0, 8.0, 8.0, 8.0, 16.0]

    def rate(self, run: int) -> float:
        kind = min(run, len(self._total) - 1)
        return self._right[kind] / self._total[kind]

    def learn(self, run: int, right: bool) -> None:
        kind = min(run, len(self._total) - 1)
        self._right[kind] += right
        self._total[kind] += 1


class Counterpart:
    """The earlier reply `tokens`, the place up to which a new one has come in it, and how surely."""

    def __init__(self, tokens: Sequence[int], rates: AgreementRates, breaks: Callable[[int], bool]) -> None:
        """`breaks` says whether a token ends a line."""
        self._tokens, self._rates, self._breaks = tokens, rates, breaks
        ends = [place + 1 for place, token in enumerate(tokens) if breaks(token)]
        self._starts = [0, *ends]
        self._line, self._opening = 0, 0
        self.place, self.run = 0, 0

    def at(self, place: int, run: int) -> tuple[int, float]:
        """The token at a place and the chance that it comes next; (-1, 0.0) behind the end."""
        return (self._tokens[place], self._rates.rate(run)) if place < len(self._tokens) else (-1, 0.0)

    def follow(self, reply: Sequence[int]) -> None:
        """Move on by the last token of the new reply."""
        expected = self._tokens[self.place] if self.place < len(self._tokens) else -1
        right = expected == reply[-1]
        self._rates.learn(self.run, right)
        if self._breaks(reply[-1]):
            self._line = min(self._line + 1, len(self._starts) - 1)
            self.place, self.run, self._opening = self._starts[self._line], LONGEST_MATCH, 0
            return
        self._opening += 1
        if right:
            self.place, self.run = self.place + 1, self.run + 1
        elif not (self._opening <= OPENING and self._other_line(reply)):
            self._find(reply)

    def _other_line(self, reply: Sequence[int]) -> bool:
        """Take up the next line that begins as this one did, if there is one."""
        opening = list(reply[-self._opening :])
        lines = range(len(self._starts))
        for line in sorted(lines, key=lambda line: (line < self._line, abs(line - self._line))):
            start = self._starts[line]
            if list(self._tokens[start : start + self._opening]) == opening:
                self._line, self.place, self.run = line, start + self._opening, self._opening
                return True
        return False

    def _find(self, reply: Sequence[int]) -> None:
        """Where the line goes on as the new one does; else one word is taken to stand for another."""
        start, end = self._starts[self._line], self._end_of_line()
        best, run, most = min(self.place + 1, end), 0, 0.0
        tokens, token = self._tokens, reply[-1]
        for place in range(start, end):
            if tokens[place] != token:
                continue
            length = self._match(place, start, reply)
            value = length - abs(place + 1 - self.place) / NEAR
            if value > most:
                best, run, most = place + 1, length, value
        self.place, self.run = best, run

    def _end_of_line(self) -> int:
        """The place of the token that ends the line, or the end of the reply."""
        following = self._line + 1
        return self._starts[following] - 1 if following < len(self._starts) else len(self._tokens)

    def _match(self, place: int, start: int, reply: Sequence[int]) -> int:
        """How many tokens of the line up to and with `place` are the last ones written."""
        most = min(LONGEST_MATCH, place + 1 - start, self._opening)
        length = 0
        while length < most and self._tokens[place - length] == reply[-1 - length]:
            length += 1
        return length
