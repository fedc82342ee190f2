"""The teacher as a writer: rationales and critiques in the rubric's grammar, sound or with a fault."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from rationalrewards_core.comparison import (
    Comparison,
    PairJudgement,
    Verdict,
    pair_rewards,
    render_comparison,
    verdict_of_rewards,
)
from rationalrewards_core.critique import Critique, Judgement
from rationalrewards_core.rubric import Rubric

from .reading import spoken

VAGUE: Final = (
    "Image A: It looks fine overall. Image B: It looks fine overall.",
    "Image A: This is a decent result. Image B: This is a decent result too.",
    "Image A: The quality is good in general. Image B: The quality is quite okay.",
)
PARROT: Final = (
    "Image A: {a} by the people who were asked. Image B: {b} by the people who were asked.",
    "Image A: According to the known preference it is {a_word}. Image B: According to the known preference it is {b_word}.",
    "Image A: It is simply the {a_word} one. Image B: It is simply the {b_word} one.",
    "Image A: As stated, human raters find it {a_word}. Image B: As stated, human raters find it {b_word}.",
)
MENTIONS: Final = (
    "As the reviewer's notes say, Image B is another matter.",
    "This agrees with the reference comment.",
    "Compared to the other image it is as described.",
)
NONSENSE: Final = ("lorem", "seven", "umbrella", "granite", "perhaps", "violet", "ostrich", "##", "sundial", "Score")
FOREIGN: Final = "Bild A zeigt eine deutliche Form mit kräftiger Farbe. Bild B wirkt dagegen unscharf und fleckig."


def pair_judgements(first: Critique, second: Critique) -> tuple[PairJudgement, ...]:
    """What is seen in both images, side by side."""
    return tuple(
        PairJudgement(
            key=a.key,
            justification=f"Image A: {a.justification} Image B: {b.justification}",
            score_a=a.score,
            score_b=b.score,
        )
        for a, b in zip(first.judgements, second.judgements, strict=True)
    )


def verdict_of(judgements: tuple[PairJudgement, ...], rubric: Rubric) -> Verdict:
    return verdict_of_rewards(*pair_rewards(judgements, rubric), margin=1e-9)


def obedient(judgements: tuple[PairJudgement, ...], label: Verdict, rubric: Rubric) -> tuple[PairJudgement, ...]:
    """The same words with scores that give the label, whatever the words say."""
    if verdict_of(judgements, rubric) is label:
        return judgements
    if label is Verdict.TIE:
        return tuple(replace(j, score_b=j.score_a) for j in judgements)
    if verdict_of(judgements, rubric) is label.swapped:
        return tuple(replace(j, score_a=j.score_b, score_b=j.score_a) for j in judgements)
    low, high = rubric.scale.minimum, rubric.scale.maximum
    first, *rest = judgements
    middle = min(high - 0.5, max(low + 0.5, first.score_a or low))
    a, b = (middle + 0.5, middle - 0.5) if label is Verdict.A else (middle - 0.5, middle + 0.5)
    return (replace(first, score_a=a, score_b=b), *rest)


def with_words(judgements: tuple[PairJudgement, ...], text: str) -> tuple[PairJudgement, ...]:
    """The same scores with other words; N/A stays as it was explained."""
    return tuple(j if j.score_a is None else replace(j, justification=text) for j in judgements)


def parrot_words(label: Verdict, rng: random.Random) -> str:
    words = {
        Verdict.A: ("It was preferred", "It was not preferred", "better", "worse"),
        Verdict.B: ("It was not preferred", "It was preferred", "worse", "better"),
        Verdict.TIE: ("It was liked equally", "It was liked equally", "equally good", "equally good"),
    }[label]
    return rng.choice(PARROT).format(a=words[0], b=words[1], a_word=words[2], b_word=words[3])


def comparison_text(judgements: Sequence[PairJudgement], verdict: Verdict, rubric: Rubric) -> str:
    """A comparison in the rubric's grammar."""
    sentence = "Both are about equally good." if verdict is Verdict.TIE else f"Image {verdict.value} is better overall."
    return render_comparison(Comparison(judgements=tuple(judgements), verdict=verdict, summary=sentence), rubric)


def guided(own: Critique, notes: Comparison, place: Verdict) -> Critique:
    """The critique that the notes lead to: their words and scores for this image, the rest as seen."""
    judgements = []
    for judgement, note in zip(own.judgements, notes.judgements, strict=True):
        score = note.score_a if place is Verdict.A else note.score_b
        sentence = spoken(note.justification)[0 if place is Verdict.A else 1] or judgement.justification
        judgements.append(Judgement(key=judgement.key, justification=sentence, score=score))
    return replace(own, judgements=tuple(judgements))


def mentioning(critique: Critique, rng: random.Random) -> Critique:
    first, *rest = critique.judgements
    sentence = f"{first.justification} {rng.choice(MENTIONS)}"
    return replace(critique, judgements=(replace(first, justification=sentence), *rest))


def drifted(critique: Critique, rubric: Rubric, rng: random.Random) -> Critique:
    """The same words with scores one and a half levels off, all in one direction."""
    step = 1.5 if rng.random() < 0.5 else -1.5
    low, high = rubric.scale.minimum, rubric.scale.maximum
    judgements = (
        j if j.score is None else replace(j, score=round(min(high, max(low, j.score + step)), 1))
        for j in critique.judgements
    )
    return replace(critique, judgements=tuple(judgements))


def loose_words(rng: random.Random) -> str:
    return " ".join(rng.choice(NONSENSE) for _ in range(40))
