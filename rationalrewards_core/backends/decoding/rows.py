"""One reply in the making: what it keeps of a pass, where it ends, and the alternatives at its scores."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import Any, Final

from ..base import Finish, Sampling, TokenChoice
from ..qwen_chat import Conversation
from .choices import Choices, Draw
from .drafts import Draft, Drafter
from .guide import Guide
from .prompts import Prompt

_SCORE_SIGNS: Final = frozenset("0123456789-−")


class Pieces:
    """Texts of single tokens, as the tokeniser decodes them."""

    def __init__(self, tokeniser: Any) -> None:
        self._tokeniser = tokeniser
        self.text: Callable[[int], str] = lru_cache(maxsize=65_536)(self._decoded)
        self.may_be_score: Callable[[int], bool] = lru_cache(maxsize=65_536)(self._may_be_score)
        """Whether a token can stand in a score: digits, or the sign before them."""

    def _decoded(self, token: int) -> str:
        return str(self._tokeniser.decode([token]))

    def joined(self, tokens: Sequence[int]) -> str:
        return str(self._tokeniser.decode(list(tokens), skip_special_tokens=True))

    def breaks(self, token: int) -> bool:
        """Whether a token ends a line."""
        return "\n" in self.text(token)

    def _may_be_score(self, token: int) -> bool:
        text = self.text(token).strip()
        return bool(text) and set(text) <= _SCORE_SIGNS


def _nothing(token: int) -> bool:
    return False


class Row:
    """A reply that grows until a stop token, a stop text, the end of its grammar or its limit."""

    def __init__(
        self,
        sampling: Sampling,
        *,
        prompt: Prompt | Conversation | None,
        prompt_tokens: int,
        limit: int,
        stop_ids: Collection[int],
        pieces: Pieces,
        guide: Guide | None,
        drafter: Drafter | None,
        draw: Draw,
    ) -> None:
        self.sampling, self.prompt, self.draw = sampling, prompt, draw
        self.prompt_tokens = prompt_tokens
        self.ids: list[int] = []
        self.finish: Finish | None = None
        self.cancelled = False
        self._limit, self._stop_ids, self._pieces = limit, stop_ids, pieces
        self._guide, self._drafter = guide, drafter
        # A token is at least a byte, so a stop text spans no more tokens than it has bytes; one more stands before it.
        self._tail = 1 + max((len(stop.encode()) for stop in sampling.stop), default=0)
        self._watches = pieces.may_be_score if sampling.alternatives else _nothing
        """Whether alternatives are wanted at a token."""
        self._alternatives: dict[int, list[tuple[int, float]]] = {}

    @property
    def live(self) -> bool:
        return self.finish is None and not self.cancelled

    @property
    def room(self) -> int:
        """Tokens that may still be written."""
        return self._limit - len(self.ids)

    def propose(self, most: int) -> Draft:
        """Up to `most` tokens worth verifying next."""
        return Draft() if self._drafter is None else self._drafter.draft(min(most, self.room - 1))

    def take(self, choices: Choices, number: int, draft: Draft) -> int:
        """Keep what the model itself wrote along `draft` in row `number` of a pass; returns drafted tokens accepted."""
        scores: dict[int, tuple[int, int, Any]] = {}
        accepted = 0
        for at in range(len(draft.tokens) + 1):
            token, place = self._next(choices, number, at)
            if place is not None:
                scores[len(self.ids)] = place
            self._write(token)
            if self.finish is not None or at == len(draft.tokens) or draft.tokens[at] != token:
                break
            accepted += 1
        if scores:
            likeliest = choices.likeliest(list(scores.values()), self.sampling.alternatives)
            self._alternatives.update(zip(scores, likeliest, strict=True))
        if self._drafter is not None:
            behind = range(accepted + 1, len(draft.tokens) + 1)
            self._drafter.verified(draft, accepted, [choices.own(number, at) for at in behind])
        return accepted

    def _next(self, choices: Choices, number: int, at: int) -> tuple[int, tuple[int, int, Any] | None]:
        """The model's token under the grammar, and where its alternatives stand if it can be part of a score."""
        token = choices.own(number, at)
        allowed = None
        watches = self._watches(token)
        if self._guide is not None:
            if watches:
                allowed = self._guide.allowed()
            if not self._guide.accept(token):
                allowed = self._guide.allowed() if allowed is None else allowed
                token = choices.among(number, at, allowed)
                self._guide.accept(token)
                watches = self._watches(token)
        return token, (number, at, allowed) if watches else None

    def _write(self, token: int) -> None:
        if token in self._stop_ids:
            self.finish = Finish.STOP
            return
        self.ids.append(token)
        if self._drafter is not None:
            self._drafter.learn(token)
        if self._stopped() or (self._guide is not None and self._guide.ended):
            self.finish = Finish.STOP
        elif self.room <= 0:
            self.finish = Finish.LENGTH

    def _stopped(self) -> bool:
        """Whether a stop text stands at the end; the tail is decoded only where its last character just came."""
        if not self.sampling.stop:
            return False
        piece = self._pieces.text(self.ids[-1])
        if all(stop[-1].isascii() and stop[-1] not in piece for stop in self.sampling.stop):
            return False
        return self.sampling.end(self._pieces.joined(self.ids[-self._tail :])) is not None

    def text(self) -> str:
        """The reply up to its stop text."""
        text = self._pieces.joined(self.ids)
        return text[: self.sampling.end(text)]

    def tokens(self) -> tuple[TokenChoice, ...]:
        """The reply token by token, with alternatives where a score may stand; nothing if none were asked for."""
        if not self.sampling.alternatives:
            return ()
        text = self._pieces.text
        return tuple(
            TokenChoice(text(token), tuple((text(t), p) for t, p in self._alternatives.get(position, ())))
            for position, token in enumerate(self.ids)
        )
