"""Asking the teacher: one question, its reply read or asked for again, counted against a budget."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from rationalrewards_core import __version__
from rationalrewards_core.backends.base import Backend, Reply, Sampling
from rationalrewards_core.errors import BackendError, CritiqueParseError
from rationalrewards_core.memo import memo_key
from rationalrewards_core.messages import Message

from ..data.budget import Budget, BudgetSpent
from ..data.pairs import KEY_CHARACTERS, digest
from ..data.records import Provenance, Usage

log = logging.getLogger("rationalrewards.parrot.teaching")

T = TypeVar("T")

AN_ANSWER: Final = frozenset({"refused", "client_error"})
"""Failures that are the server's last word on a question: asking the same again would fail the same."""


@dataclass(frozen=True, kw_only=True)
class TeacherQuestion:
    """What the teacher is asked, and under which texts."""

    messages: tuple[Message, ...]
    prompt: str
    """Hash of the fixed texts."""
    rubric: str
    """Name of the rubric."""


@dataclass(frozen=True, kw_only=True)
class TeacherAnswer(Generic[T]):
    """What came of one question; `value` is None exactly if there is a `reason`."""

    value: T | None
    reason: str
    message: str
    reply: str
    provenance: Provenance
    usage: Usage


class Teacher:
    """A backend with a budget. Counts what this run has spent."""

    def __init__(
        self, backend: Backend, *, max_tokens: int = 2048, ask_again: int = 1, budget: Budget | None = None
    ) -> None:
        self.backend = backend
        self.ask_again = ask_again
        self.budget = budget or Budget()
        self.spent = Usage()
        self._sampling = Sampling(temperature=0.0, max_tokens=max_tokens)

    async def ask(self, question: TeacherQuestion, read: Callable[[Reply], T]) -> TeacherAnswer[T]:
        """Ask until a reply can be read, `ask_again` more times at most.

        `read` raises CritiqueParseError for a reply that cannot be used. Raises BudgetSpent before a question that
        the budget has no room for, and BackendError if no reply could be had: that is nobody's answer, and the
        question stays open.
        """
        self._check_budget()
        cost = Usage()
        for attempt in range(self.ask_again + 1):
            sampling = self._sampling.again(attempt)
            reply, failure = await self._reply(question, sampling)
            cost = total_usage(cost, _cost(reply))
            value: T | None = None
            if reply is not None:
                try:
                    value = read(reply)
                except CritiqueParseError as error:
                    failure = (error.reason, str(error))
            if failure == ("", "") or reply is None or attempt == self.ask_again:
                break
            log.info("asking again: %s", failure[1])
        return TeacherAnswer(
            value=value,
            reason=failure[0],
            message=failure[1],
            reply="" if reply is None else reply.text,
            provenance=self._provenance(question, sampling, "" if reply is None else reply.model),
            usage=cost,
        )

    async def close(self) -> None:
        await self.backend.close()

    async def _reply(self, question: TeacherQuestion, sampling: Sampling) -> tuple[Reply | None, tuple[str, str]]:
        try:
            reply = await self.backend.reply(question.messages, sampling)
        except BackendError as error:
            if error.reason not in AN_ANSWER:
                raise
            self.spent = total_usage(self.spent, _cost(None))
            return None, (error.reason, str(error))
        self.spent = total_usage(self.spent, _cost(reply))
        return reply, ("", "")

    def _check_budget(self) -> None:
        budget, spent = self.budget, self.spent
        if budget.requests is not None and spent.requests >= budget.requests:
            raise BudgetSpent(f"The budget of {budget.requests} requests is used; run again to go on.")
        if budget.tokens is not None and spent.prompt_tokens + spent.completion_tokens >= budget.tokens:
            raise BudgetSpent(f"The budget of {budget.tokens} tokens is used; run again to go on.")

    def _provenance(self, question: TeacherQuestion, sampling: Sampling, model: str) -> Provenance:
        return Provenance(
            model=model,
            prompt=question.prompt,
            question=memo_key("", question.messages, sampling, "parrot")[:KEY_CHARACTERS],
            rubric=question.rubric,
            temperature=sampling.temperature,
            seed=sampling.seed,
            version=__version__,
        )


def prompt_hash(*texts: str | tuple[str, ...]) -> str:
    """Hash of a prompt's fixed texts."""
    return digest(texts)


def _cost(reply: Reply | None) -> Usage:
    if reply is None:
        return Usage(requests=1)
    return Usage(requests=1, prompt_tokens=reply.prompt_tokens, completion_tokens=reply.completion_tokens)


def total_usage(first: Usage, second: Usage) -> Usage:
    return Usage(
        requests=first.requests + second.requests,
        prompt_tokens=first.prompt_tokens + second.prompt_tokens,
        completion_tokens=first.completion_tokens + second.completion_tokens,
    )
