"""Makes the rows of one checkpoint: its stop tokens, its token texts, its grammars, its context."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...errors import RequestError
from ..base import Sampling
from ..qwen_chat import Conversation
from .choices import Draw
from .drafts import Drafter
from .guide import GrammarCompiler, Guide, grammar_available
from .prompts import Prompt
from .rows import Pieces, Row

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint

log = logging.getLogger("rationalrewards.backends.decoding")

LEAST_ROOM = 16
"""A prompt that leaves fewer tokens for the reply is refused."""


class RowMaker:
    """One per loaded checkpoint; compiled grammars and token texts are shared by its rows."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._pieces = Pieces(checkpoint.tokeniser)
        self._stop_ids = frozenset(checkpoint.stop_ids)
        self._grammars: GrammarCompiler | None = None
        self._warned = False

    @property
    def breaks(self) -> Callable[[int], bool]:
        """Whether a token ends a line."""
        return self._pieces.breaks

    def row(
        self,
        sampling: Sampling,
        prompt_tokens: int,
        *,
        prompt: Prompt | Conversation,
        drafter: Drafter | None = None,
    ) -> Row:
        """An empty reply. Raises RequestError where the prompt leaves no room for one."""
        room = self._checkpoint.context - prompt_tokens
        if room < LEAST_ROOM:
            raise RequestError(
                f"The prompt has {prompt_tokens} tokens and the judge takes {self._checkpoint.context}; "
                "shorten the request or judge at fewer pixels."
            )
        seed = random.getrandbits(62) if sampling.seed is None else sampling.seed
        return Row(
            sampling,
            prompt=prompt,
            prompt_tokens=prompt_tokens,
            limit=min(sampling.max_tokens, room),
            stop_ids=self._stop_ids,
            pieces=self._pieces,
            guide=self._guide(sampling.grammar),
            drafter=drafter,
            draw=Draw(sampling.temperature, seed),
        )

    def _guide(self, grammar: str | None) -> Guide | None:
        if grammar is None:
            return None
        if not grammar_available():
            if not self._warned:
                log.warning("xgrammar is not installed; decoding is not guided by the rubric's grammar.")
                self._warned = True
            return None
        if self._grammars is None:
            checkpoint = self._checkpoint
            self._grammars = GrammarCompiler(checkpoint.tokeniser, checkpoint.vocabulary, checkpoint.stop_ids)
        return self._grammars.guide(grammar)
