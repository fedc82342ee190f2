"""Stage 3, pointwise projection: a validated comparison becomes two absolute critiques in the student's grammar.

These realise log P(z | x) as training data: the student writes z, scores included, with no label in view. The teacher
sees one candidate and the comparison as a hint, and writes as if it had seen no hint. Four arms are kept apart:
`parrot` (hints that passed the check), `unfiltered` (every hint), `direct` (no hint: plain distillation), `own` (no
teacher: the judge's own critiques that agree with the label, see `own_critiques`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, get_args

from rationalrewards_core.backends.base import Reply
from rationalrewards_core.comparison import Verdict, parse_comparison
from rationalrewards_core.critique import Critique
from rationalrewards_core.errors import CritiqueParseError, RequestError
from rationalrewards_core.finished_reply import read_reply
from rationalrewards_core.rubric import Rubric

from ..data.pairs import PreferencePair, digest
from ..rewards.teaching import Teacher, TeacherQuestion
from .comparison_traces import hint_mentions
from .language import Language, is_english
from .prompts import TeacherTexts, projection_question
from .records import Check, Projection, Rationale, Side
from .run import ParrotRun, Rubrics

Arm = Literal["parrot", "unfiltered", "direct", "own"]
ARMS: Final[tuple[Arm, ...]] = get_args(Arm)


@dataclass(frozen=True)
class ProjectionTask:
    """One candidate of a pair, and the rationale that guides its critique."""

    pair: PreferencePair
    side: Side
    rationale: Rationale | None = None

    @property
    def key(self) -> str:
        return f"{self.pair.key}:{self.side}"

    @property
    def place(self) -> Verdict:
        """Which image of the rationale this candidate was."""
        as_shown = self.rationale is None or self.rationale.order == "AB"
        return Verdict(self.side) if as_shown else Verdict(self.side).swapped


def projection_tasks(
    rationales: Callable[[], Iterable[Rationale]], checks: Iterable[Check] | None
) -> Iterator[ProjectionTask]:
    """Two tasks for every pair with a usable rationale; `checks` None takes every rationale that can be read.

    A pair whose rationales survived in both orders is projected from the one that its key draws, so that neither
    order is used more than the other. The rationales are read twice, so that they need not be held in memory.
    """
    passed = None if checks is None else {check.rationale for check in checks if check.kept}
    usable: dict[str, list[str]] = {}
    for rationale in rationales():
        if _readable(rationale) if passed is None else rationale.key in passed:
            usable.setdefault(rationale.pair.key, []).append(rationale.key)
    hints = {sorted(keys)[int(digest(["hint", pair]), 16) % len(keys)] for pair, keys in usable.items()}
    for rationale in rationales():
        if rationale.key in hints:
            yield ProjectionTask(rationale.pair, "A", rationale)
            yield ProjectionTask(rationale.pair, "B", rationale)


def _readable(rationale: Rationale) -> bool:
    return rationale.kept or rationale.reason == "ignores_label"


def direct_tasks(pairs: Iterable[PreferencePair]) -> Iterator[ProjectionTask]:
    for pair in pairs:
        yield ProjectionTask(pair, "A")
        yield ProjectionTask(pair, "B")


class Projector:
    """Asks the teacher for absolute critiques."""

    def __init__(
        self, run: ParrotRun, teacher: Teacher, rubrics: Rubrics, texts: TeacherTexts, language: Language
    ) -> None:
        self._run, self._teacher, self._rubrics, self._texts = run, teacher, rubrics, texts
        self._language: Language = language

    async def __call__(self, task: ProjectionTask) -> Projection:
        rubric = self._rubrics.teacher(task.pair.kind)
        rationale = "" if task.rationale is None else task.rationale.key
        shared = {"key": task.key, "pair": task.pair, "side": task.side, "rationale": rationale}
        try:
            question = await asyncio.to_thread(self._question, task, rubric)
        except RequestError as error:
            return Projection(**shared, reason=error.reason, message=str(error))  # type: ignore[arg-type]
        answer = await self._teacher.ask(question, self._reader(task.pair, rubric))
        return Projection(
            **shared,  # type: ignore[arg-type]
            critique=answer.value,
            reason=answer.reason,
            message=answer.message,
            reply=answer.reply,
            provenance=answer.provenance,
            usage=answer.usage,
        )

    def _question(self, task: ProjectionTask, rubric: Rubric) -> TeacherQuestion:
        candidate = self._run.store.open(task.pair.first if task.side == "A" else task.pair.second)
        hint = None
        if task.rationale is not None:
            hint = parse_comparison(task.rationale.reply, rubric), task.place
        return projection_question(self._run.request(task.pair), candidate, rubric, self._texts, hint)

    def _reader(self, pair: PreferencePair, rubric: Rubric) -> Callable[[Reply], Critique]:
        return lambda reply: read_projection(reply, pair.request, rubric, self._language)


def read_projection(reply: Reply, request: str, rubric: Rubric, language: Language) -> Critique:
    """A critique a student may learn from, or CritiqueParseError: unreadable, another language, or a hint mentioned."""
    critique = read_reply(reply, rubric, "critique")
    prose = " ".join([critique.analysis, *(j.justification for j in critique.judgements), critique.summary])
    if language == "en" and not is_english(prose):
        raise CritiqueParseError("wrong_language", "The critique is not written in English.", reply.text)
    comments = critique.refinement.comments if critique.refinement is not None else ""
    mentions = hint_mentions(f"{prose} {comments}", request)
    if mentions:
        message = f"It mentions what a student cannot see: {', '.join(mentions[:3])}."
        raise CritiqueParseError("mentions_hint", message, reply.text)
    return critique
