"""A checklist for one request of the miniature world: the dimensions that it calls for, and the true critique by them.

The fixed rubric asks every request the same three questions. A checklist asks one question about each thing that was
wished for, where it stands, the word, what nobody asked for, and three kinds of defects apart. It is made by rule, so it
stands for what an adaptive rubric (`rubric_writing`) is at its best; `truth` stays the only definition of right.
"""

from __future__ import annotations

from typing import Final

from ..critique import Critique, Judgement
from ..rubric import Dimension, Layout, Rubric, Wording
from .truth import (
    COUNTS,
    Flaw,
    PictureContent,
    aligned,
    faithfulness_flaws,
    score_of,
    sentences,
    text_judgement,
    thing_flaws,
    visual_flaws,
)
from .world import Content

PLACEMENT, NOTHING_ELSE, WORD = "placement", "nothing_else", "word"
VISUAL: Final = {
    "sharpness": ("Sharpness", "Is the picture sharp?", "It is sharp.", ("blurry",)),
    "cleanness": ("Cleanness", "Is it free of noise and blotches?", "It is clean.", ("noisy", "blotch")),
    "outlines": (
        "Outlines",
        "Are all shapes whole and well formed?",
        "The shapes are whole.",
        ("cut off", "misshapen"),
    ),
}
"""Key -> title, question, the sentence when all is well, and what its flaws' sentences contain."""
ANCHORS: Final = (
    (4.0, "Exactly as asked."),
    (3.0, "Slightly off."),
    (2.0, "Clearly wrong."),
    (1.0, "Missing or ruined."),
)


def checklist_rubric(wish: Content) -> Rubric:
    """The dimensions that this wish calls for, in the layout that the miniature's students are taught them in."""
    dimensions = [
        Dimension(key=thing.shape, title=thing.shape.capitalize(), question=f"Is there a {thing}?", anchors=ANCHORS)
        for thing in wish.things
    ]
    if wish.relation:
        first, second = (thing.shape for thing in wish.things)
        question = f"Is the {first} {wish.relation} the {second}?"
        dimensions.append(
            Dimension(key=PLACEMENT, title="Placement", question=question, anchors=ANCHORS, optional=True)
        )
    question = "Is there nothing that was not asked for?"
    dimensions.append(Dimension(key=NOTHING_ELSE, title="Nothing Else", question=question, anchors=ANCHORS))
    if wish.word:
        question = f'Does the word read "{wish.word}", in clear letters?'
        dimensions.append(Dimension(key=WORD, title="Word", question=question, anchors=ANCHORS))
    dimensions += [
        Dimension(key=key, title=title, question=question, anchors=ANCHORS)
        for key, (title, question, _, _) in VISUAL.items()
    ]
    return Rubric(
        name="miniature-checklist",
        kind="generation",
        dimensions=tuple(dimensions),
        layout=Layout(analysis=False, refinement=False, guidelines=False),
        wording=Wording(candidate_label="Image "),
    )


def checklist_critique(wish: Content, picture: PictureContent) -> Critique:
    """The true critique by the wish's checklist: the same flaws in the same words as by the fixed rubric."""
    _, partners = aligned(wish, picture.content)
    rows: list[tuple[Judgement, tuple[Flaw, ...]]] = []
    for want, partner in zip(wish.things, partners, strict=True):
        flaws = tuple(thing_flaws(want, partner, wish))
        rows.append(_row(want.shape, f"There is a {partner}." if partner else "", flaws))
    # What is left of the content's flaws once those of the things are told: the placement, and what is too much.
    of_things = {flaw.sentence for _, flaws in rows for flaw in flaws}
    rest = tuple(f for f in faithfulness_flaws(wish, picture.content) if f.sentence not in of_things)
    extra = tuple(flaw for flaw in rest if flaw.sentence.startswith("There is an extra"))
    if wish.relation:
        rows.append(_placement(wish, None in partners, tuple(flaw for flaw in rest if flaw not in extra)))
    rows.append(_row(NOTHING_ELSE, "" if extra else "There is nothing else.", extra))
    if wish.word:
        judgement, flaws = text_judgement(wish.word, picture)
        rows.append(_row(WORD, "" if flaws else judgement.justification, flaws))
    visual = visual_flaws(picture)
    for key, (_, _, well, marks) in VISUAL.items():
        own = tuple(flaw for flaw in visual if any(mark in flaw.sentence for mark in marks))
        rows.append(_row(key, "" if own else well, own))
    count = sum(len(flaws) for _, flaws in rows)
    number = COUNTS[min(count, len(COUNTS) - 1)].capitalize()
    summary = f"{number} flaw{'s' if count > 1 else ''}." if count else "All as asked."
    return Critique(rubric="miniature-checklist", judgements=tuple(judgement for judgement, _ in rows), summary=summary)


def _row(key: str, well: str, flaws: tuple[Flaw, ...]) -> tuple[Judgement, tuple[Flaw, ...]]:
    return Judgement(key=key, justification=sentences(well, flaws), score=score_of(flaws)), flaws


def _placement(wish: Content, one_is_missing: bool, flaws: tuple[Flaw, ...]) -> tuple[Judgement, tuple[Flaw, ...]]:
    if one_is_missing:
        return Judgement(key=PLACEMENT, justification="One of them is missing.", score=None), ()
    first, second = (thing.shape for thing in wish.things)
    return _row(PLACEMENT, "" if flaws else f"The {first} is {wish.relation} the {second}.", flaws)
