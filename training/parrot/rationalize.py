"""Stage 1, anchored generation: z ~ q(z | x, y). The teacher is told the label and writes what explains it.

x is the request with both candidates, y the preference, z the rationale (arXiv 2604.11626, sec. 2.1). Both orders of
a pair are asked by default: over the records, Image A wins as often as Image B, and a place carries no label.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from rationalrewards_core.backends.base import Reply
from rationalrewards_core.comparison import Comparison, Verdict, pair_rewards, parse_comparison
from rationalrewards_core.errors import CritiqueParseError, RequestError
from rationalrewards_core.finished_reply import check_finished
from rationalrewards_core.rubric import Rubric

from ..data.pairs import PreferencePair, digest
from ..rewards.teaching import Teacher, TeacherQuestion
from .language import Language, is_english
from .prompts import TeacherTexts, anchored_question
from .records import Order, Rationale
from .run import ParrotRun, Rubrics

TIE_MARGIN: Final = 0.1
"""Reward by which the images of a tie may differ: few judges give two sets of scores that come out exactly equal."""

Orders = Literal["both", "one"]
"""Both orders of every pair, or one that is drawn by the pair's content (half the price)."""


@dataclass(frozen=True)
class RationaleTask:
    """One pair in one order."""

    pair: PreferencePair
    order: Order

    @property
    def key(self) -> str:
        return f"{self.pair.key}:{self.order}"


def rationale_tasks(pairs: Iterable[PreferencePair], orders: Orders) -> Iterator[RationaleTask]:
    for pair in pairs:
        random_order: Order = "AB" if int(digest(["order", pair.key])[:8], 16) % 2 else "BA"
        for order in ("AB", "BA"):
            if orders == "both" or order == random_order:
                yield RationaleTask(pair, order)


class Rationalizer:
    """Asks the teacher why."""

    def __init__(
        self, run: ParrotRun, teacher: Teacher, rubrics: Rubrics, texts: TeacherTexts, language: Language
    ) -> None:
        self._run, self._teacher, self._rubrics, self._texts = run, teacher, rubrics, texts
        self._language: Language = language

    async def __call__(self, task: RationaleTask) -> Rationale:
        """One record. Raises BackendError and BudgetSpent: then there is none, and the task stays open."""
        pair = task.pair if task.order == "AB" else task.pair.swapped
        rubric = self._rubrics.teacher(pair.kind)
        try:
            question = await asyncio.to_thread(self._question, pair, rubric)
        except RequestError as error:
            return Rationale(key=task.key, pair=task.pair, order=task.order, reason=error.reason, message=str(error))
        answer = await self._teacher.ask(question, lambda reply: read_rationale(reply, pair, rubric, self._language))
        return Rationale(
            key=task.key,
            pair=task.pair,
            order=task.order,
            reason=answer.reason,
            message=answer.message,
            reply=answer.reply,
            provenance=answer.provenance,
            usage=answer.usage,
        )

    def _question(self, pair: PreferencePair, rubric: Rubric) -> TeacherQuestion:
        store = self._run.store
        return anchored_question(
            self._run.request(pair),
            store.open(pair.first),
            store.open(pair.second),
            pair.preference,
            rubric,
            self._texts,
        )


def agrees(comparison: Comparison, preference: Verdict, rubric: Rubric) -> bool:
    """Whether the scores bear the label: any lead for a preference, a small one at most for a tie."""
    if preference is not Verdict.TIE:
        return comparison.verdict is preference
    reward_a, reward_b = pair_rewards(comparison.judgements, rubric)
    return abs(reward_a - reward_b) <= TIE_MARGIN


def read_rationale(reply: Reply, pair: PreferencePair, rubric: Rubric, language: Language) -> Comparison:
    """A rationale that can be used, or CritiqueParseError with the reason why not.

    Beside what `parse_comparison` refuses: another language, and scores that contradict the known label (dropping
    those here saves the question that the check would ask about them).
    """
    check_finished(reply)
    comparison = parse_comparison(reply.text, rubric)
    prose = " ".join([*(j.justification for j in comparison.judgements), comparison.summary])
    if language == "en" and not is_english(prose):
        raise CritiqueParseError("wrong_language", "The rationale is not written in English.", reply.text)
    if not agrees(comparison, pair.preference, rubric):
        message = f"Its scores say {comparison.verdict.value} where people said {pair.preference.value}."
        raise CritiqueParseError("ignores_label", message, reply.text)
    return comparison
