"""The scorer: rubric + backend -> critique.

`critique` and `score` raise; `score_many` is the one place that turns failures into `Unscored`: it
keeps order, loses nothing, counts reasons, and stops the run above a stated failure rate.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeVar

from PIL import Image

from .backends.base import Backend, introduce
from .comparison import Comparison, agreed, parse_comparison, pointwise_comparison
from .critique import Critique, Unscored, with_samples
from .errors import BackendError, ConfigError, CritiqueParseError, RequestError
from .interviewer import Interviewer, JudgeQuestion
from .judged import Case, FailureRateError, Judged, Outcome, ScoreBatch, reward_of
from .memo import Memo
from .messages import UserRequest, critique_messages, pairwise_messages
from .replies.parsing import Mode
from .reward import reward
from .round_robin import meetings, standings
from .rubric import Kind, Rubric
from .rubric_file import edit_rubric, generation_rubric
from .scorer_settings import ScorerSettings

CompareMethod = Literal["pointwise", "pairwise"]
Scope = Callable[[UserRequest], None]
"""What a judge declares of itself: raises OutOfScopeError for a request that it knows nothing of."""
T = TypeVar("T")


class Scorer(Interviewer):
    """Judges candidates with one backend under one rubric per kind of request."""

    def __init__(
        self,
        backend: Backend,
        rubrics: Mapping[Kind, Rubric] | None = None,
        settings: ScorerSettings | None = None,
        memo: Memo | None = None,
        scope: Scope | None = None,
    ) -> None:
        super().__init__(backend, settings, memo)
        self.scope = scope
        self.rubrics: dict[Kind, Rubric] = {
            "generation": generation_rubric(),
            "edit": edit_rubric(),
            **(rubrics or {}),
        }

    def rubric_for(self, request: UserRequest) -> Rubric:
        """Edit requests have source images; everything else is generation."""
        return self.rubrics["edit" if request.sources else "generation"]

    def reward(self, critique: Critique, request: UserRequest, *, expected: bool = False) -> float:
        """Aggregate in [0, 1] under the weights of the request's rubric."""
        return reward(critique, self.rubric_for(request), expected=expected)

    async def critique(self, request: UserRequest, candidate: Image.Image) -> Critique:
        """Every section: justifications, scores, summary, refined request."""
        return await self._judge(Case(request, candidate), "critique")

    async def score(self, request: UserRequest, candidate: Image.Image) -> Critique:
        """The fast path: stops after the last score, so there is no summary and no refinement."""
        return await self._judge(Case(request, candidate), "score")

    async def sample(self, request: UserRequest, candidate: Image.Image, *, temperature: float, seed: int) -> Critique:
        """A critique drawn at `temperature`, the same again for the same seed where the backend can. Raises as `critique`."""
        question = self._question(Case(request, candidate))
        await introduce(self.backend)
        sampling = replace(
            self._sampling(question.rubric, "critique"), temperature=temperature, seed=seed, alternatives=0
        )
        return await self._ask_question(question, sampling, "critique", again=0)

    async def score_many(
        self,
        cases: Sequence[Case],
        mode: Mode = "critique",
        on_outcome: Callable[[int, Outcome], None] | None = None,
    ) -> ScoreBatch:
        """Judge many, as many at once as the backend likes. Never raises for one bad case.

        A judge that only compares has every candidate of a request meet every other (`round_robin`).
        `on_outcome(index, outcome)` is called as cases finish, in any order. Raises FailureRateError above the
        stated rate and Interrupted if the user stops; other errors are bugs.
        """
        outcomes: list[Outcome | None] = [None] * len(cases)
        gate = asyncio.Semaphore(max(1, self.backend.concurrency))

        async def judge(index: int, case: Case) -> None:
            async with gate:
                outcomes[index] = outcome = await self._outcome(case, mode)
            if on_outcome is not None:
                on_outcome(index, outcome)
            self._check_failure_rate(outcomes)

        async def play(places: Sequence[int]) -> None:
            for index, outcome in zip(places, await self._round_robin([cases[i] for i in places], gate), strict=True):
                outcomes[index] = outcome
                if on_outcome is not None:
                    on_outcome(index, outcome)
            self._check_failure_rate(outcomes)

        compared, alone = self._compared(cases)
        tasks = [asyncio.ensure_future(judge(index, cases[index])) for index in alone]
        tasks += [asyncio.ensure_future(play(places)) for places in compared]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return ScoreBatch(tuple(o for o in outcomes if o is not None))

    async def judge_many(
        self,
        cases: Sequence[Case],
        mode: Mode = "critique",
        on_outcome: Callable[[int, Outcome], None] | None = None,
    ) -> tuple[Judged, ...]:
        """`score_many`, each outcome with its case and its reward."""
        batch = await self.score_many(cases, mode, on_outcome)
        return tuple(map(self.judged, cases, batch.outcomes))

    def judged(self, case: Case, outcome: Outcome) -> Judged:
        """An outcome with its case and its reward."""
        return Judged(case, outcome, reward_of(outcome, self.rubric_for(case.request)))

    async def compare(
        self,
        request: UserRequest,
        first: Image.Image,
        second: Image.Image,
        method: CompareMethod | None = None,
    ) -> Comparison:
        """Which candidate is better: by two separate critiques, or by comparison prompts in both orders.

        None is what the judge's profile says, and pointwise without one. ConfigError for what its profile cannot do.
        """
        own = self._own_method(request)
        if own is not None and method not in (None, own):
            raise ConfigError(f"{self.rubric_for(request).name} is asked {own}; choose the method {own}.")
        if (method or own) == "pairwise":
            forward, swapped = await asyncio.gather(
                self._comparison(request, first, second), self._comparison(request, second, first)
            )
            return agreed(forward, swapped, self.rubric_for(request))
        questions = [self._question(Case(request, candidate)) for candidate in (first, second)]
        critiques = await asyncio.gather(*(self.answer(question, "score") for question in questions))
        return pointwise_comparison(critiques[0], critiques[1], self.rubric_for(request))

    async def close(self) -> None:
        await self.backend.close()

    def compares(self, request: UserRequest) -> bool:
        """Whether the judge only compares: a candidate's score then says how it stands among the others asked with it."""
        return self._own_method(request) == "pairwise"

    def _own_method(self, request: UserRequest) -> CompareMethod | None:
        """How a judge with a profile is asked; None of one that can be asked both ways."""
        profile = self.rubric_for(request).profile
        return None if profile is None else "pairwise" if profile.pairwise else "pointwise"

    def _compared(self, cases: Sequence[Case]) -> tuple[list[list[int]], list[int]]:
        """Places of the cases whose judge only compares, by request, and of all others."""
        groups: list[tuple[UserRequest, list[int]]] = []
        alone = []
        for index, case in enumerate(cases):
            if not self.compares(case.request):
                alone.append(index)
                continue
            places = next((places for request, places in groups if request == case.request), None)
            if places is None:
                groups.append((case.request, [index]))
            else:
                places.append(index)
        return [places for _, places in groups], alone

    async def _round_robin(self, cases: Sequence[Case], gate: asyncio.Semaphore) -> tuple[Outcome, ...]:
        """How the candidates of one request stand among each other."""

        async def meet(first: Case, second: Case) -> Comparison | Unscored:
            async with gate:
                return await self._or_unscored(self.compare(first.request, first.candidate, second.candidate))

        pairs = meetings(len(cases))
        games = await asyncio.gather(*(meet(cases[a], cases[b]) for a, b in pairs))
        return standings(len(cases), dict(zip(pairs, games, strict=True)), self.rubric_for(cases[0].request))

    async def _outcome(self, case: Case, mode: Mode) -> Outcome:
        return await self._or_unscored(self._judge(case, mode))

    async def _or_unscored(self, answer: Awaitable[T]) -> T | Unscored:
        """The answer, or its failure as an `Unscored`, which is counted."""
        try:
            return await answer
        except CritiqueParseError as error:
            error.__traceback__ = None  # it leads to the pictures, and would keep them until Python looks for cycles
            return Unscored(reason=error.reason, message=str(error), raw=error.raw)
        except (BackendError, RequestError) as error:
            error.__traceback__ = None
            self.failures[error.reason] += 1
            return Unscored(reason=error.reason, message=str(error))

    async def _judge(self, case: Case, mode: Mode) -> Critique:
        question = self._question(case)
        critique = await self.answer(question, mode)
        return with_samples(critique, await self._samples(question)) if self.settings.samples else critique

    def _question(self, case: Case) -> JudgeQuestion:
        self._check_scope(case.request)
        rubric = self.rubric_for(case.request)
        if self.compares(case.request):
            raise ConfigError(
                f"{rubric.name} compares images and gives no scores of one: let it compare two, or rank several of one "
                "request (`rationalrewards score`, Multi-Dim Score)."
            )
        return JudgeQuestion(critique_messages(case.request, case.candidate, rubric), rubric)

    def _check_scope(self, request: UserRequest) -> None:
        if self.scope is not None:
            self.scope(request)

    async def _comparison(self, request: UserRequest, first: Image.Image, second: Image.Image) -> Comparison:
        """One order. What is kept is the reply's text, so that every caller's weights decide for themselves."""
        self._check_scope(request)
        rubric = self.rubric_for(request)
        question = JudgeQuestion(pairwise_messages(request, first, second, rubric), rubric)
        sampling = self._sampling(rubric, "pairwise")
        await introduce(self.backend)
        again = self.settings.ask_again
        if sampling.repeatable:
            key = self._key(question, sampling, "pairwise")
            answer = self.memo.get(key) or await self._ask_once(key, question, sampling, "pairwise", again)
        else:
            answer = await self._ask_question(question, sampling, "pairwise", again)
        return parse_comparison(answer.raw, rubric)

    def _check_failure_rate(self, outcomes: Sequence[Outcome | None]) -> None:
        if self.settings.max_failure_rate >= 1.0:
            return
        finished = [o for o in outcomes if o is not None]
        reasons = Counter(o.reason for o in finished if isinstance(o, Unscored))
        if len(finished) >= 20 and reasons.total() > self.settings.max_failure_rate * len(finished):
            most = ", ".join(f"{reason} {count}x" for reason, count in reasons.most_common(3))
            raise FailureRateError(
                f"{reasons.total()} of {len(finished)} cases failed ({most}); stopped. Fix the cause or raise max_failure_rate.",
                tuple(outcomes),
            )
