"""Asking a judge every question of a benchmark: bounded, resumable, each failure an answer without scores.

Missing images are never asked about. A server that is gone ends the run: its questions stay open for the next one.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tqdm import tqdm

from rationalrewards_core.backends.base import Backend, Reply, Sampling
from rationalrewards_core.errors import BackendError, CritiqueParseError, RequestError
from rationalrewards_core.finished_reply import check_finished
from rationalrewards_core.messages import Message, UserRequest
from rationalrewards_core.rubric import Kind, Rubric
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings

from ...data.job import Tally, run_job
from ...data.journal import Journal
from ...data.store import ImageStore
from ...rewards.judges import Metered
from ...rewards.teaching import AN_ANSWER
from .answers import AnswerFolder, BenchmarkAnswer, answer_key
from .open_outputs import OpenOutput, message, opened
from .outputs import BenchmarkQuestion, Output, Scores

RUBRIC: Final = "rubric"
"""Name of the one question of our own scorer."""


@dataclass(frozen=True, kw_only=True)
class OutputTask:
    """One question about one image that is there."""

    key: str
    output: Output
    path: Path
    question: BenchmarkQuestion | None
    """None asks our scorer, in its rubric."""


class Noted(Metered):
    """A meter for one question that also counts calls without a reply, and remembers the last reply."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self.last: Reply | None = None
        self.requests = 0

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        self.requests += 1
        self.last = reply = await super().reply(messages, sampling)
        return reply


@dataclass(frozen=True, kw_only=True)
class Asker:
    """A judge, and how it is asked."""

    backend: Backend
    settings: ScorerSettings
    store: ImageStore
    rubrics: dict[Kind, Rubric] | None = None
    """Where our scorer is asked: its rubrics."""

    async def answer(self, task: OutputTask) -> BenchmarkAnswer:
        """BackendError if no reply could be had: that is nobody's answer, and the question stays open."""
        meter = Noted(self.backend)
        scores: Scores | None = None
        reason = words = ""
        try:
            pictures = await asyncio.to_thread(opened, task.output, task.path, self.store)
            scores = await self._scores(task, pictures, meter)
        except (CritiqueParseError, RequestError) as error:
            reason, words = error.reason, str(error)
        except BackendError as error:
            if error.reason not in AN_ANSWER:
                raise
            reason, words = error.reason, str(error)
        return BenchmarkAnswer(
            key=task.key,
            output=task.output.key,
            question=RUBRIC if task.question is None else task.question.name,
            scores=scores,
            reason=reason,
            message=words,
            reply="" if meter.last is None else meter.last.text,
            model="" if meter.last is None else meter.last.model,
            requests=meter.requests,
            prompt_tokens=meter.prompt_tokens,
            completion_tokens=meter.completion_tokens,
        )

    async def _scores(self, task: OutputTask, pictures: OpenOutput, meter: Noted) -> Scores:
        if task.question is None:
            scorer = Scorer(meter, self.rubrics, self.settings)
            request = UserRequest(task.output.request, pictures.sources)
            return (scorer.reward(await scorer.critique(request, pictures.output), request),)
        question = await asyncio.to_thread(message, task.question, pictures)
        sampling = Sampling(temperature=self.settings.temperature, max_tokens=self.settings.max_tokens)
        for attempt in range(self.settings.ask_again + 1):
            reply = await meter.reply([question], sampling.again(attempt))
            try:
                check_finished(reply)
                return task.question.read(reply.text)
            except CritiqueParseError:
                if attempt == self.settings.ask_again:
                    raise
        raise AssertionError("unreachable")


def tasks_of(outputs: Sequence[Output], *, rubric: bool) -> Iterator[OutputTask]:
    """Every question that can be asked, in the benchmark's order."""
    for output in outputs:
        if output.path is None:
            continue
        image = hashlib.sha256(output.path.read_bytes()).hexdigest()
        for question in (None,) if rubric else output.questions:
            name = RUBRIC if question is None else question.name
            key = answer_key(output.key, name, image)
            yield OutputTask(key=key, output=output, path=output.path, question=question)


async def ask_all(
    asker: Asker, tasks: Sequence[OutputTask], folder: AnswerFolder, on_answer: Callable[[], object] = lambda: None
) -> Tally:
    """Ask whatever has no answer in the folder yet."""
    answered_keys = frozenset(folder.known())
    with Journal(folder.path) as journal:
        return await run_job(
            tasks,
            asker.answer,  # type: ignore[arg-type]  # an `Answer` has what the runner wants of a record
            journal,
            record_keys=answered_keys,
            workers=max(1, asker.backend.concurrency),
            on_record=lambda _: on_answer(),
        )


def ask(
    asker: Asker, outputs: Sequence[Output], folder: AnswerFolder, name: str
) -> tuple[dict[str, BenchmarkAnswer], Tally]:
    """The answers to every question that could be asked, by key, and what this run did. Closes the backend."""
    tasks = list(tasks_of(outputs, rubric=asker.rubrics is not None))

    async def work() -> Tally:
        open_questions = len({task.key for task in tasks} - folder.known().keys())
        try:
            with tqdm(total=open_questions, desc=name, unit="question", disable=None) as bar:
                return await ask_all(asker, tasks, folder, bar.update)
        finally:
            await asker.backend.close()

    tally = asyncio.run(work())
    answers = folder.known()
    return {task.key: answers[task.key] for task in tasks if task.key in answers}, tally
