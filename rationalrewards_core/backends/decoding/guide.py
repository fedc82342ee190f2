"""Grammar-guided choice: the grammar is asked only where the model wants something forbidden.

Taking the model's own choice where it is allowed, and the best allowed one elsewhere, is what masking every step
gives, and so is drawing again among the allowed where a draw was forbidden.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection
from functools import lru_cache
from typing import Any

from ..special_tokens import special_ids


def grammar_available() -> bool:
    return importlib.util.find_spec("xgrammar") is not None


class GrammarCompiler:
    """Compiles EBNF for one tokeniser; compiled grammars are kept."""

    def __init__(self, tokeniser: Any, vocabulary: int, stop_ids: list[int]) -> None:
        import xgrammar

        info = xgrammar.TokenizerInfo.from_huggingface(tokeniser, vocab_size=vocabulary, stop_token_ids=stop_ids)
        self._compiler = xgrammar.GrammarCompiler(info)
        self._vocabulary = vocabulary
        self._forbidden = frozenset(special_ids(tokeniser, stop_ids))
        self.compiled = lru_cache(maxsize=32)(self._compiler.compile_grammar)

    def guide(self, grammar: str) -> Guide:
        """A fresh guide for one reply."""
        return Guide(self.compiled(grammar), self._vocabulary, self._forbidden)


class Guide:
    """Where one reply stands in its grammar."""

    def __init__(self, compiled: Any, vocabulary: int, forbidden: Collection[int] = ()) -> None:
        import xgrammar

        self._matcher = xgrammar.GrammarMatcher(compiled)
        self._bitmask = xgrammar.allocate_token_bitmask(1, vocabulary)
        self._vocabulary, self._forbidden = vocabulary, forbidden
        """Special tokens are ordinary text to xgrammar; decoding drops them, so that a reply could come out empty."""
        self._forbidden_ids = list(forbidden)

    @property
    def ended(self) -> bool:
        return bool(self._matcher.is_terminated())

    def accept(self, token: int) -> bool:
        """Move on by `token`; False, and nothing moves, where it is not allowed."""
        return token not in self._forbidden and bool(self._matcher.accept_token(token))

    def allowed(self) -> Any:
        """[vocabulary] boolean on the CPU, True where a token may come next."""
        import numpy as np
        import torch

        self._bitmask.fill_(-1)
        self._matcher.fill_next_token_bitmask(self._bitmask)
        octets = self._bitmask.numpy().astype("<i4", copy=False).view(np.uint8)
        allowed = np.unpackbits(octets, count=self._vocabulary, bitorder="little").view(np.bool_)
        allowed[self._forbidden_ids] = False
        return torch.from_numpy(allowed)
