"""How a judge is asked one question: again where its reply cannot be read, once for all who ask the same, and not at all
where the answer is remembered.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeVar

from .backends.base import Backend, Reply, Sampling, introduce
from .comparison import parse_comparison
from .critique import Critique, score_part
from .errors import BackendError, CritiqueParseError, RequestError
from .finished_reply import check_finished, read_reply
from .grammar import comparison_grammar, critique_grammar
from .memo import Address, Memo, address, address_key
from .messages import Message
from .replies.parsing import Mode
from .reply_layout import SUMMARY_LINE
from .rubric import Rubric
from .rubric_file import rubric_to_toml
from .scorer_settings import ScorerSettings

log = logging.getLogger("rationalrewards.scorer")

Way = Literal["critique", "score", "pairwise"]
"""How a judge is asked: about one candidate in one of the modes, or about two."""
T = TypeVar("T")


@dataclass(frozen=True)
class JudgeQuestion:
    """What a judge is asked about one case."""

    messages: tuple[Message, ...]
    rubric: Rubric

    @cached_property
    def address(self) -> Address:
        """What the memo knows the messages by; made once, since every pixel goes into it."""
        return address(self.messages)


class Interviewer:
    """Asks one backend. What it is asked, and what becomes of the answers, is the `Scorer`'s."""

    def __init__(self, backend: Backend, settings: ScorerSettings | None = None, memo: Memo | None = None) -> None:
        self.backend = backend
        self.settings = settings or ScorerSettings()
        self.memo = memo if memo is not None else Memo()
        self.failures: Counter[str] = Counter()
        """Reasons of every failure since it was made, asked-again replies and sampled critiques included."""

    async def answer(self, question: JudgeQuestion, mode: Mode) -> Critique:
        """The critique whose words are shown."""
        await introduce(self.backend)
        again = self.settings.ask_again
        sampling = self._sampling(question.rubric, mode)
        if not sampling.repeatable:
            return await self._ask_question(question, sampling, mode, again)
        key = self._key(question, sampling, mode)
        if mode == "critique":
            return self.memo.get(key) or await self._ask_once(key, question, sampling, mode, again)
        # A critique of the same picture, kept or being written, holds the answer.
        whole = self._key(question, self._sampling(question.rubric, "critique"), "critique")
        whole_critique = self.memo.get(key, whole) or await self._answer_under_way(whole)
        return score_part(whole_critique or await self._ask_once(key, question, sampling, mode, again))

    def _key(self, question: JudgeQuestion, sampling: Sampling, way: Way) -> str:
        return address_key(self._judge_identity(question.rubric), question.address, sampling, way)

    def _judge_identity(self, rubric: Rubric) -> str:
        """Who judges, and by which rubric: its keys name the scores of a critique and are in no prompt.

        Weights make a reward of a critique and change nothing in it.
        """
        unweighted = rubric.with_weights(dict.fromkeys((d.key for d in rubric.dimensions), 1.0))
        return f"{self.backend.identity}#{rubric_to_toml(unweighted)}"

    async def _ask_once(self, key: str, question: JudgeQuestion, sampling: Sampling, way: Way, again: int) -> Critique:
        """Ask once for all who ask the same now, and keep the answer in the memo."""

        async def call() -> Critique:
            critique = await self._ask_question(question, sampling, way, again)
            self.memo.put(key, critique)
            return critique

        return await self.memo.calls.join(key, call)

    async def _answer_under_way(self, key: str) -> Critique | None:
        """What a call of that key comes to; None if there is none, or if it fails: the failure is its own caller's."""
        try:
            return await self.memo.calls.join_if_any(key)
        except (CritiqueParseError, BackendError, RequestError):
            return None

    async def _ask_question(self, question: JudgeQuestion, sampling: Sampling, way: Way, again: int) -> Critique:
        return await self.ask(question.messages, sampling, lambda reply: _read(reply, question.rubric, way), again)

    async def ask(
        self, messages: tuple[Message, ...], sampling: Sampling, read: Callable[[Reply], T], again: int | None = None
    ) -> T:
        """What `read` makes of the judge's reply, asked up to `again` times more where that raises CritiqueParseError.

        The last failure is raised, every one is counted. None is as often as the settings say.
        """
        again = self.settings.ask_again if again is None else again
        for attempt in range(again + 1):
            reply = await self.backend.reply(messages, sampling.again(attempt))
            try:
                return read(reply)
            except CritiqueParseError as error:
                self.failures[error.reason] += 1
                if attempt == again:
                    raise
                log.info("asking again: %s", error)
        raise AssertionError("unreachable")

    async def _samples(self, question: JudgeQuestion) -> list[Critique]:
        """Critiques of the same picture, sampled up to their last score. Those that fail are counted and left out."""
        greedy, settings = self._sampling(question.rubric, "score"), self.settings
        samplings = [
            replace(greedy, temperature=settings.samples_temperature, seed=seed, alternatives=0)
            for seed in range(1, settings.samples + 1)
        ]
        sampled = await asyncio.gather(*(self._sample(question, sampling) for sampling in samplings))
        return [critique for critique in sampled if critique is not None]

    async def _sample(self, question: JudgeQuestion, sampling: Sampling) -> Critique | None:
        key = self._key(question, sampling, "score")
        try:
            return self.memo.get(key) or await self._ask_once(key, question, sampling, "score", again=0)
        except CritiqueParseError:
            return None  # counted where it was read
        except (BackendError, RequestError) as error:
            self.failures[error.reason] += 1
            return None

    def _sampling(self, rubric: Rubric, way: Way) -> Sampling:
        settings = self.settings
        grammar = None
        if settings.guided and rubric.profile is None:
            grammar = comparison_grammar(rubric) if way == "pairwise" else critique_grammar(rubric, way)
        return Sampling(
            temperature=settings.temperature,
            max_tokens=self._longest(rubric),
            stop=(SUMMARY_LINE,) if way == "score" and rubric.profile is None else (),
            grammar=grammar,
            alternatives=0 if way == "pairwise" else settings.alternatives,
        )

    def _longest(self, rubric: Rubric) -> int:
        """Tokens a reply may take: what the settings allow, and more where a judge's profile asks for it."""
        return max(self.settings.max_tokens, 0 if rubric.profile is None else rubric.profile.max_tokens)


def _read(reply: Reply, rubric: Rubric, way: Way) -> Critique:
    """A reply as the memo keeps it; of a comparison that can be read, the text alone."""
    if way != "pairwise":
        return read_reply(reply, rubric, way)
    check_finished(reply)
    parse_comparison(reply.text, rubric)
    return Critique(rubric=rubric.name, judgements=(), raw=reply.text)
