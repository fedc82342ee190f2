"""The same judge without its words: the layout it knows, with an empty justification before every score.

What such scores are worth says what the words are worth. The judge sees the prompt it always sees and writes its headings
as always, since other ones would be spelled in tokens that it never writes; a grammar leaves a full stop in the place of
every justification. So it needs a backend that can guide decoding.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rationalrewards_core.backends.base import Backend, Reply, Sampling
from rationalrewards_core.backends.wrapper import BackendWrapper
from rationalrewards_core.critique import Critique, render_critique
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.grammar import critique_grammar
from rationalrewards_core.messages import Message
from rationalrewards_core.reply_layout import SUMMARY_LINE
from rationalrewards_core.rubric import Kind, Rubric
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings

NO_WORDS = "."


def wordless_scorer(backend: Backend, rubrics: Mapping[Kind, Rubric], settings: ScorerSettings) -> Scorer:
    """A scorer whose replies justify nothing. ConfigError if it may not guide decoding."""
    if not settings.guided:
        raise ConfigError("Scores without words need guided decoding: leave out --unguided.")
    scorer = Scorer(backend, rubrics, settings)
    scorer.backend = WordlessBackend(backend, scorer.rubrics)
    return scorer


def wordless_grammar(rubric: Rubric) -> str:
    """EBNF of a reply up to its last score: the rubric's own, but for what a justification may be, and blank lines."""
    rules = critique_grammar(rubric, "score")
    rules = re.sub(r"(?m)^justification ::= .*$", f'justification ::= "{NO_WORDS}"', rules)
    return re.sub(r"(?m)^break ::= .*$", r'break ::= "\\n"', rules)


def wordless_reply(critique: Critique, rubric: Rubric) -> str:
    """A critique's analysis and scores in that grammar: what a judge is taught that is to score without words."""
    silent = replace(critique, judgements=tuple(replace(j, justification=NO_WORDS) for j in critique.judgements))
    return render_critique(silent, rubric).partition(SUMMARY_LINE)[0]


class WordlessBackend(BackendWrapper):
    """Puts the wordless grammar in the place of the rubric's own."""

    def __init__(self, backend: Backend, rubrics: Mapping[Kind, Rubric]) -> None:
        super().__init__(backend)
        self._grammars = {critique_grammar(rubric, "score"): wordless_grammar(rubric) for rubric in rubrics.values()}

    @property
    def identity(self) -> str:
        return f"{self.inside.identity}#wordless"

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """A reply to a question for scores; a KeyError for any other is a bug."""
        assert sampling.grammar is not None
        return await super().reply(messages, replace(sampling, grammar=self._grammars[sampling.grammar]))
