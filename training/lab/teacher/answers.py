"""From a question to a reply: what is seen, which fault is made, what is written."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Final

from rationalrewards_core.comparison import PairJudgement, Verdict, parse_comparison
from rationalrewards_core.critique import Critique, render_critique
from rationalrewards_core.rubric import Rubric

from ...parrot.run import Rubrics
from . import writing
from .faults import FaultShares, critique_fault, dice, rationale_fault
from .questions import Ask
from .reading import borne_out, predict, sentences
from .sight import see

ANSWERS: Final = {
    Verdict.A: "Answer: A is preferred",
    Verdict.B: "Answer: B is preferred",
    Verdict.TIE: "Answer: Tie",
}


@dataclass(frozen=True, kw_only=True)
class Said:
    """A reply and the truth about it."""

    text: str
    fault: str
    """`sound`, or the fault that was made on purpose."""
    seen: str = ""
    """The outcome that the words (not the scores) speak for."""
    finish: str = "stop"


class Mind:
    """Answers every question of the pipeline. The same question gets the same answer."""

    def __init__(self, rubrics: Rubrics, shares: FaultShares, seed: int, taste: str = "") -> None:
        """`taste` is a colour that the people behind the labels like (see `eyes.see`); empty for the truth alone."""
        self._rubrics, self._shares, self._seed, self._taste = rubrics, shares, seed, taste

    def answer(self, ask: Ask) -> Said:
        """RequestError for requests of another world."""
        rng = dice(self._seed, ask.kind, ask.address)
        if ask.kind == "check":
            return self._prediction(ask, rng)
        rubric = self._rubrics.teacher(ask.rubric_kind)
        if ask.kind in ("anchored", "comparison"):
            answer = self._rationale(ask, rubric, rng)
        else:
            answer = self._critique(ask, rubric, rng)
        return self._spoiled(answer, rubric, rng)

    def _rationale(self, ask: Ask, rubric: Rubric, rng: random.Random) -> Said:
        fault = rationale_fault(self._shares, rng)
        first, second = self._both(ask, rng if fault == "hallucinated" else None)
        judgements = writing.pair_judgements(first, second)
        sight = writing.verdict_of(judgements, rubric)
        label = ask.label or sight
        if fault == "contradicts":
            claim = label.swapped if label is not Verdict.TIE else Verdict.A
            judgements = writing.obedient(judgements, claim, rubric)
        else:
            judgements = self._worded(writing.obedient(judgements, label, rubric), fault, label, rng)
        verdict = writing.verdict_of(judgements, rubric)
        return Said(text=writing.comparison_text(judgements, verdict, rubric), fault=fault, seen=sight.value)

    def _both(self, ask: Ask, imagined: random.Random | None) -> tuple[Critique, Critique]:
        *sources, first, second = ask.images
        wrong = imagined.randrange(2) if imagined is not None else None
        a = see(ask.request, (*sources, first), imagined=imagined if wrong == 0 else None, taste=self._taste)
        b = see(ask.request, (*sources, second), imagined=imagined if wrong == 1 else None, taste=self._taste)
        return a, b

    def _worded(
        self, judgements: tuple[PairJudgement, ...], fault: str, label: Verdict, rng: random.Random
    ) -> tuple[PairJudgement, ...]:
        if fault == "vague":
            return writing.with_words(judgements, rng.choice(writing.VAGUE))
        if fault == "parrot":
            return writing.with_words(judgements, writing.parrot_words(label, rng))
        return judgements

    def _critique(self, ask: Ask, rubric: Rubric, rng: random.Random) -> Said:
        hinted = ask.kind == "projection" and ask.label is not None
        fault = critique_fault(self._shares, rng, hinted=hinted)
        critique = see(ask.request, ask.images, imagined=rng if fault == "hallucinated" else None, taste=self._taste)
        if hinted and ask.label is not None:
            critique = writing.guided(critique, parse_comparison(ask.notes.strip(), rubric), ask.label)
        if fault == "mentions":
            critique = writing.mentioning(critique, rng)
        elif fault == "drift":
            critique = writing.drifted(critique, rubric, rng)
        return Said(text=render_critique(critique, rubric), fault=fault)

    def _prediction(self, ask: Ask, rng: random.Random) -> Said:
        believed = None
        if ask.images:
            first, second = self._both(ask, None)
            believed = _sentences_of(first), _sentences_of(second)
        rubric = self._rubrics.teacher("edit" if "\n4. " in ask.notes else "generation")
        verdict = predict(ask.notes, rubric, believed)
        notes = "" if believed is None else f"Notes: {'true' if borne_out(ask.notes, believed) else 'false'}\n"
        if rng.random() < self._shares.misread:
            wrong = rng.choice([v for v in Verdict if v is not verdict])
            return Said(text=notes + ANSWERS[wrong], fault="misread")
        return Said(text=notes + ANSWERS[verdict], fault="sound")

    def _spoiled(self, answer: Said, rubric: Rubric, rng: random.Random) -> Said:
        """The reply after what can happen on its way out."""
        place = rng.random()
        shares = self._shares
        if place < shares.truncated:
            return replace(answer, text=answer.text[: len(answer.text) // 2], finish="length", fault="truncated")
        place -= shares.truncated
        if place < shares.nonsense:
            return replace(answer, text=writing.loose_words(rng), fault="nonsense")
        place -= shares.nonsense
        if place < shares.foreign:
            return replace(answer, text=_in_german(answer.text), fault="foreign")
        return answer


def _sentences_of(critique: Critique) -> frozenset[str]:
    return frozenset(s for j in critique.judgements for s in sentences(j.justification))


def _in_german(text: str) -> str:
    """The reply with its prose in German; headings and scores stay, as they do when a model changes its language."""
    lines = []
    for line in text.splitlines():
        heading, colon, _ = line.partition(": ")
        prose = colon and heading.startswith("#") and "Score" not in heading and "Winner" not in heading
        lines.append(f"{heading}: {writing.FOREIGN}" if prose else line)
    return "\n".join(lines)
