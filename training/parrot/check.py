"""Stage 2, consistency: keep z only if P(y | x, z) puts y first, the label hidden (arXiv 2604.11626, sec. 2.1, App. C).

Three variants. `text` (the default) shows request and *evidence*: scores, winner lines, summary and verdict words
are withheld. `images` shows both candidates too, and asks whether the evidence is true of them. `paper` shows
request and whole rationale, as the paper prints it; a rationale that only repeats its label passes that one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from rationalrewards_core.backends.base import Reply
from rationalrewards_core.comparison import Comparison, Verdict, parse_comparison
from rationalrewards_core.errors import ConfigError, CritiqueParseError, RequestError
from rationalrewards_core.finished_reply import check_finished
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.rubric import Rubric

from ..rewards.teaching import Teacher, TeacherQuestion
from .evidence import leak
from .prompts import TeacherTexts, Variant, consistency_question
from .records import Check, Rationale
from .run import ParrotRun, Rubrics

_ANSWER: Final = re.compile(
    r"\b(?:(?:image|candidate)\s+)?(?P<letter>[AB])\s+(?:is|would\s+be)\s+(?:the\s+)?(?:preferred|better)\b"
    r"|\banswer\W{1,6}(?:image\s+)?(?P<short>[AB])\b(?!\s+and\b)"
    r"|\b(?P<tie>tie|equally\s+good)\b",
    re.IGNORECASE,
)
_NOTES: Final = re.compile(r"\bnotes\s*[:：]\s*(true|false)\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class CheckSettings:
    """What is asked of a rationale."""

    variant: Variant = "text"
    """What the teacher sees when it predicts the label."""
    fewest_evidence_words: int = 4
    """Distinct words of evidence below which a rationale says nothing; 0 for languages other than English."""
    ask_leaking: bool = False
    """Whether rationales that the leak check drops are asked about as well, to measure both filters apart."""

    def __post_init__(self) -> None:
        if self.variant not in ("text", "images", "paper"):
            raise ConfigError(f"variant must be text, images or paper, not {self.variant!r}.")
        if self.fewest_evidence_words < 0:
            raise ConfigError("fewest_evidence_words must not be negative.")


@dataclass(frozen=True)
class CheckTask:
    """One rationale that stage 1 kept."""

    rationale: Rationale

    @property
    def key(self) -> str:
        return self.rationale.key


def check_tasks(rationales: Iterable[Rationale]) -> Iterator[CheckTask]:
    return (CheckTask(r) for r in rationales if r.kept)


class Checker:
    """Asks the teacher which candidate is better, from the rationale."""

    def __init__(
        self, run: ParrotRun, teacher: Teacher, rubrics: Rubrics, texts: TeacherTexts, settings: CheckSettings
    ) -> None:
        self._run, self._teacher, self._rubrics, self._texts = run, teacher, rubrics, texts
        self._settings = settings

    async def __call__(self, task: CheckTask) -> Check:
        rationale, settings = task.rationale, self._settings
        rubric = self._rubrics.teacher(rationale.pair.kind)
        comparison = parse_comparison(rationale.reply, rubric)
        leaked, message = "", ""
        if settings.variant != "paper":
            leaked, message = leak(comparison, rubric, rationale.reply, fewest=settings.fewest_evidence_words)
        record = Check(
            key=task.key,
            pair=rationale.pair,
            order=rationale.order,
            rationale=rationale.key,
            leak=leaked,
            reason=leaked,
            message=message,
        )
        return record if leaked and not settings.ask_leaking else await self._asked(record, rationale, comparison)

    async def _asked(self, record: Check, rationale: Rationale, comparison: Comparison) -> Check:
        rubric = self._rubrics.teacher(rationale.pair.kind)
        try:
            question = await asyncio.to_thread(self._question, rationale, comparison, rubric)
        except RequestError as error:
            return replace(record, reason=error.reason, message=str(error))
        answer = await self._teacher.ask(question, partial(read_prediction, variant=self._settings.variant))
        reason, message = answer.reason, answer.message
        if answer.value is not None:
            reason, message = answer.value.problem(rationale.shown.preference)
        if record.leak:
            reason, message = record.leak, record.message
        return replace(
            record,
            predicted=None if answer.value is None else answer.value.verdict,
            notes_true=None if answer.value is None else answer.value.notes_true,
            reason=reason,
            message=message,
            reply=answer.reply,
            provenance=answer.provenance,
            usage=answer.usage,
        )

    def _question(self, rationale: Rationale, comparison: Comparison, rubric: Rubric) -> TeacherQuestion:
        pair, variant = rationale.shown, self._settings.variant
        if variant != "images":
            # Text only: the sources are not opened either, and their number is not told.
            return consistency_question(UserRequest(pair.request), comparison, rubric, self._texts, variant)
        images = self._run.store.open(pair.first), self._run.store.open(pair.second)
        return consistency_question(self._run.request(pair), comparison, rubric, self._texts, variant, images)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the teacher concludes from a rationale."""

    verdict: Verdict
    notes_true: bool | None = None
    """Whether the images bear the rationale out; None where they were not shown."""

    def problem(self, label: Verdict) -> tuple[str, str]:
        """(reason, message) of why the rationale is dropped; two empty texts if it is kept."""
        if self.verdict is not label:
            reason = "undecided" if self.verdict is Verdict.TIE else "inconsistent"
            sentence = f"From the rationale alone the teacher says {self.verdict.value}; people said {label.value}."
            return reason, sentence
        if self.notes_true is False:
            return "untrue", "The images do not bear it out: it says something about them that is not so."
        return "", ""


def read_prediction(reply: Reply, variant: Variant = "text") -> Prediction:
    """The one outcome that a reply names; CritiqueParseError if it names none, or two.

    The `images` variant wants to be told as well whether the notes are true.
    """
    check_finished(reply)
    text = re.sub(r"[*_`\"'“”]", "", reply.text)
    verdicts = {_verdict(match) for match in _ANSWER.finditer(text)}
    notes = {match[1].casefold() == "true" for match in _NOTES.finditer(text)}
    if variant == "images" and len(notes) != 1:
        raise CritiqueParseError("no_prediction", "The reply does not say whether the notes are true.", reply.text)
    if len(verdicts) == 1:
        return Prediction(verdict=verdicts.pop(), notes_true=notes.pop() if variant == "images" else None)
    what = "names no outcome" if not verdicts else "names two outcomes"
    raise CritiqueParseError("no_prediction", f"The reply {what}.", reply.text)


def _verdict(match: re.Match[str]) -> Verdict:
    letter = match["letter"] or match["short"]
    return Verdict(letter.upper()) if letter else Verdict.TIE
