"""The truth of the miniature world: given what was asked and what is shown, the critique a perfect judge writes.

This is the only definition of right in the world. The renderer's scenes are judged with it to make
training data, and the oracle judges with it what it reads from pixels. Nothing here looks at a picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import permutations
from typing import Final

from ..critique import Critique, Judgement, Refinement
from .edits import Edit, apply_edit, target
from .world import Content, Thing, detailed_request

LEVELS: Final = ("slightly", "clearly", "heavily")
COUNTS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")

SIZE_COST, COLOUR_COST, SHAPE_COST, MISSING_COST, RELATION_COST = 0.7, 1.1, 1.3, 1.9, 1.2
EXTRA_THING_COST, EXTRA_WORD_COST = 0.9, 0.7
BLUR_COST, NOISE_COST = (0.6, 1.3, 2.1), (0.5, 1.1, 1.9)
BLOTCH_COST: Final = (0.7, 1.2, 1.7)
CROP_COST, DEFORM_COST = 0.8, 0.9
KEPT_COST, LOST_COST, BACKGROUND_COST = 0.9, 1.8, 1.2


@dataclass(frozen=True)
class Defects:
    """What is wrong with a picture as a picture, whatever was asked."""

    blur: int = 0
    """0 none, 1 slight, 2 clear, 3 heavy."""
    noise: int = 0
    """0 none, 1 slight, 2 clear, 3 heavy."""
    blotches: int = 0
    """Number of stains, 0 to 3 (three and more count as three)."""
    cropped: int | None = None
    """Index of the shown thing that is cut off."""
    deformed: int | None = None
    """Index of the shown thing whose outline is wrong."""
    faint: bool = False
    """Whether the word's letters hardly differ from the background."""


@dataclass(frozen=True)
class PictureContent:
    """What a picture shows. `things` may be empty; `word` is what its letters read."""

    content: Content
    defects: Defects = field(default_factory=Defects)


@dataclass(frozen=True)
class Flaw:
    """One thing to say against a candidate: the sentence, what to do about it, and what it costs."""

    sentence: str
    advice: str
    cost: float
    emphasis: str | None = None
    """What a refined request should repeat, such as `the circle is red`."""


def judge_generation(wish: Content, picture: PictureContent) -> Critique:
    """The true critique of a generated picture under the GENERATION rubric's dimensions."""
    faults = faithfulness_flaws(wish, picture.content)
    visual = visual_flaws(picture)
    text, text_flaws = text_judgement(wish.word, picture)
    sight = f"It shows {describe(picture.content, wish)}" + (", as asked." if not faults else ".")
    wish_text = f"The request asks for {_count(wish)}."
    emphasis = tuple(f.emphasis for f in (*faults, *text_flaws) if f.emphasis)[:2]
    flaws = (*faults, *visual, *text_flaws)
    return _critique(
        "generation",
        wish_text,
        (
            Judgement(key="text_faithfulness", justification=sentences(sight, faults), score=score_of(faults)),
            _visual_judgement(visual),
            text,
        ),
        flaws,
        detailed_request(wish, emphasis),
    )


def judge_edit(edit: Edit, source: Content, picture: PictureContent, *, background_kept: bool = True) -> Critique:
    """The true critique of an edited picture under the EDIT rubric's dimensions."""
    wish = apply_edit(edit, source)
    carried_out, faults = _edit_judgement(edit, source, wish, picture.content)
    collateral = kept_flaws(edit, source, wish, picture.content, background_kept)
    visual = visual_flaws(picture)
    text, text_flaws = text_judgement(edit.value if edit.asks_for_text else None, picture)
    kept_text = "The rest of the source is kept." if not collateral else ""
    flaws = (*faults, *collateral, *visual, *text_flaws)
    return _critique(
        "edit",
        f"The request changes {'the word' if edit.asks_for_text else f'the {edit.shape}'}.",
        (
            carried_out,
            Judgement(
                key="image_faithfulness", justification=sentences(kept_text, collateral), score=score_of(collateral)
            ),
            _visual_judgement(visual),
            text,
        ),
        flaws,
        "; ".join([f"{edit}, keep everything else as it is, sharp and clean", *_emphases((*faults, *collateral))]),
    )


def describe(content: Content, wish: Content | None = None) -> str:
    """The shown things in words, told in the wish's order where a wish is given."""
    if not content.things:
        return "no shape"
    if wish is not None:
        content = aligned(wish, content)[0]
    if len(content.things) == 2 and content.relation:
        return f"a {content.things[0]} {content.relation} a {content.things[1]}"
    return " and ".join(f"a {thing}" for thing in content.things)


def faithfulness_flaws(wish: Content, content: Content) -> tuple[Flaw, ...]:
    """How the shown content departs from the wish, by the pairing of things that departs least."""
    content, partners = aligned(wish, content)
    flaws = [
        flaw for want, partner in zip(wish.things, partners, strict=True) for flaw in thing_flaws(want, partner, wish)
    ]
    both = len(partners) == 2 and None not in partners
    if both and wish.relation and content.relation != wish.relation:
        first, second = (thing.shape for thing in wish.things)
        flaws.append(
            Flaw(
                f"The {first} should be {wish.relation} the {second}.",
                f"put the {first} {wish.relation} the {second}",
                RELATION_COST,
                f"the {first} is {wish.relation} the {second}",
            )
        )
    for extra in content.things[sum(p is not None for p in partners) :]:
        flaws.append(Flaw(f"There is an extra {extra}.", "ask for nothing else", EXTRA_THING_COST))
    if content.word and not wish.word:
        flaws.append(Flaw("There is an extra word.", "ask for no word", EXTRA_WORD_COST))
    return tuple(flaws)


def visual_flaws(picture: PictureContent) -> tuple[Flaw, ...]:
    """Defects of the picture as a picture."""
    defects, things = picture.defects, picture.content.things
    flaws = []
    if defects.blur:
        flaws.append(
            Flaw(f"It is {LEVELS[defects.blur - 1]} blurry.", "ask for sharp edges", BLUR_COST[defects.blur - 1])
        )
    if defects.noise:
        flaws.append(
            Flaw(f"It is {LEVELS[defects.noise - 1]} noisy.", "ask for no noise", NOISE_COST[defects.noise - 1])
        )
    if defects.blotches:
        count = min(defects.blotches, len(BLOTCH_COST))
        stains = f"{COUNTS[count]} blotch{'es' if count > 1 else ''}"
        flaws.append(Flaw(f"It has {stains}.", "ask for no blotches", BLOTCH_COST[count - 1]))
    if defects.cropped is not None and defects.cropped < len(things):
        flaws.append(Flaw(f"The {things[defects.cropped].shape} is cut off.", "ask for whole shapes", CROP_COST))
    if defects.deformed is not None and defects.deformed < len(things):
        flaws.append(Flaw(f"The {things[defects.deformed].shape} is misshapen.", "ask for clean shapes", DEFORM_COST))
    return tuple(flaws)


def kept_flaws(edit: Edit, source: Content, wish: Content, content: Content, background_kept: bool) -> tuple[Flaw, ...]:
    """What an edit changed although nobody asked."""
    content, partners = aligned(wish, content)
    changed = None if edit.asks_for_text or edit.kind == "remove" else target(edit, source)
    flaws = []
    for index, (want, partner) in enumerate(zip(wish.things, partners, strict=True)):
        if partner is None:
            if index != changed:
                flaws.append(Flaw(f"The {want.shape} is lost.", f"keep the {want.shape}", LOST_COST))
            continue
        for what in ("shape", "colour", "size"):
            exempt = (
                index == changed and {"recolour": "colour", "resize": "size", "reshape": "shape"}[edit.kind] == what
            )
            if not exempt and getattr(want, what) != getattr(partner, what):
                name = want.shape if what != "shape" else source.things[index].shape
                flaws.append(
                    Flaw(f"The {what} of the {name} was changed.", f"keep the {what} of the {name}", KEPT_COST)
                )
    if wish.relation and content.relation != wish.relation and len(content.things) == 2:
        flaws.append(Flaw("The layout was changed.", "keep the layout", RELATION_COST))
    removed_stays = edit.kind == "remove" and any(t.shape == edit.shape for t in content.things)
    for extra in content.things[sum(p is not None for p in partners) + int(removed_stays) :]:
        flaws.append(Flaw(f"There is an extra {extra.shape}.", "add nothing", EXTRA_THING_COST))
    if not edit.asks_for_text and content.word != source.word:
        flaws.append(
            Flaw("The word was changed." if source.word else "A word was added.", "keep the word", RELATION_COST)
        )
    if not background_kept:
        flaws.append(Flaw("The background was changed.", "keep the background", BACKGROUND_COST))
    return tuple(flaws)


def _edit_judgement(edit: Edit, source: Content, wish: Content, content: Content) -> tuple[Judgement, tuple[Flaw, ...]]:
    sentence, score = _edit_outcome(edit, source, wish, content)
    faults = () if score == 4.0 else (Flaw(sentence, "say the change again", 4.0 - score, f"the change is to {edit}"),)
    return Judgement(key="text_faithfulness", justification=sentence, score=score), faults


def _edit_outcome(edit: Edit, source: Content, wish: Content, content: Content) -> tuple[str, float]:
    if edit.asks_for_text:
        if content.word == edit.value:
            return f'The word now reads "{edit.value}", as asked.', 4.0
        if content.word == source.word:
            return ("There is still no word." if source.word is None else "The word was not changed."), 1.0
        return ("The word is gone.", 1.0) if content.word is None else (f'The word reads "{content.word}".', 2.0)
    if edit.kind == "remove":
        absent = all(thing.shape != edit.shape for thing in content.things)
        return (f"The {edit.shape} is gone, as asked.", 4.0) if absent else (f"The {edit.shape} is still there.", 1.0)
    index = target(edit, source)
    partner = aligned(wish, content)[1][index]
    if partner is None:
        return f"The {edit.shape} is gone.", 1.0
    what = {"recolour": "colour", "resize": "size", "reshape": "shape"}[edit.kind]
    value, old = getattr(partner, what), getattr(source.things[index], what)
    if value == edit.value:
        return f"The {edit.shape} is now {'a ' if what == 'shape' else ''}{value}, as asked.", 4.0
    if value == old:
        return f"The {edit.shape} is still {'a ' if what == 'shape' else ''}{value}.", 1.0
    return f"The {edit.shape} is now {'a ' if what == 'shape' else ''}{value}, not {edit.value}.", 2.0


def aligned(wish: Content, content: Content) -> tuple[Content, list[Thing | None]]:
    """The content told in the wish's order, and each wished thing's partner (None: missing).

    Of all pairings the cheapest is taken; of equals, the one that keeps the shown order.
    """
    count, things = len(wish.things), list(content.things)
    padded: list[Thing | None] = [*things, *[None] * max(0, count - len(things))]

    def cost(order: tuple[int, ...]) -> float:
        partners = [padded[i] for i in order[:count]]
        total = sum(
            f.cost for want, have in zip(wish.things, partners, strict=True) for f in thing_flaws(want, have, wish)
        )
        differences = _in_order(content, order)
        both = count == 2 and None not in partners
        return total + (RELATION_COST if both and wish.relation and differences.relation != wish.relation else 0.0)

    best = min(permutations(range(len(padded))), key=lambda order: (round(cost(order), 3), order))
    return _in_order(content, best), [padded[i] for i in best[:count]]


def _in_order(content: Content, order: tuple[int, ...]) -> Content:
    """`content` with its things in `order` (indices past its end stand for missing things)."""
    present = [i for i in order if i < len(content.things)]
    if present == sorted(present) or len(present) != 2:
        return Content(tuple(content.things[i] for i in present), content.relation, content.word)
    return content.flipped()


def thing_flaws(want: Thing, partner: Thing | None, wish: Content) -> list[Flaw]:
    """How a shown thing departs from the wished one; None: it is missing."""
    name = want.shape
    if partner is None:
        cost = MISSING_COST if len(wish.things) > 1 else 3.0
        return [Flaw(f"The {name} is missing.", f"ask for the {name}", cost, f"there is one {name}")]
    flaws = []
    if partner.shape != want.shape:
        flaws.append(
            Flaw(
                f"The {partner.shape} should be a {name}.",
                f"say that it is a {name}",
                SHAPE_COST,
                f"there is one {name}",
            )
        )
    for what, cost in (("colour", COLOUR_COST), ("size", SIZE_COST)):
        value = getattr(want, what)
        if value is not None and getattr(partner, what) != value:
            flaws.append(
                Flaw(
                    f"The {name} should be {value}.", f"say that the {name} is {value}", cost, f"the {name} is {value}"
                )
            )
    return flaws


def text_judgement(word: str | None, picture: PictureContent) -> tuple[Judgement, tuple[Flaw, ...]]:
    """The word that was asked for (None: none was), and its flaw if it has one."""
    read = picture.content.word
    if word is None:
        return Judgement(key="text_rendering", justification="No text was asked for.", score=None), ()
    if not read:
        flaw = Flaw(f'The word "{word}" is missing.', "ask for the word", 3.0, f'the word reads "{word}"')
    elif read != word:
        wrong = sum(a != b for a, b in zip(read.ljust(len(word)), word, strict=False)) + max(0, len(read) - len(word))
        cost = 2.0 if wrong < len(word) else 3.0
        flaw = Flaw(f'It reads "{read}" instead of "{word}".', "spell the word", cost, f'the word reads "{word}"')
    elif picture.defects.faint:
        flaw = Flaw(
            f'It reads "{word}" but the letters are faint.', "ask for bold letters", 1.0, "the letters are bold"
        )
    else:
        return Judgement(key="text_rendering", justification=f'It reads "{word}" as asked.', score=4.0), ()
    return Judgement(key="text_rendering", justification=flaw.sentence, score=score_of((flaw,))), (flaw,)


def _visual_judgement(flaws: tuple[Flaw, ...]) -> Judgement:
    clean = "" if flaws else "It is sharp and clean."
    return Judgement(key="physical_quality", justification=sentences(clean, flaws), score=score_of(flaws))


def _critique(
    rubric: str, analysis: str, judgements: tuple[Judgement, ...], flaws: tuple[Flaw, ...], refined: str
) -> Critique:
    advice = list(dict.fromkeys(flaw.advice for flaw in flaws))
    comments = f"{_join(advice)}.".capitalize() if advice else "Nothing to change."
    count = COUNTS[min(len(flaws), len(COUNTS) - 1)].capitalize()
    summary = "All as asked." if not flaws else f"{count} flaw{'s' if len(flaws) > 1 else ''}."
    return Critique(
        rubric=rubric,
        analysis=analysis,
        judgements=judgements,
        summary=summary,
        refinement=Refinement(comments=comments, request=refined),
    )


def score_of(flaws: tuple[Flaw, ...]) -> float:
    """4 less what the flaws cost, to one decimal, and never below 1."""
    return round(max(1.0, 4.0 - sum(flaw.cost for flaw in flaws)), 1)


def sentences(opening: str, flaws: tuple[Flaw, ...]) -> str:
    """A justification: what is right, then every flaw."""
    return " ".join(filter(None, [opening, *(flaw.sentence for flaw in flaws)]))


def _emphases(flaws: tuple[Flaw, ...]) -> list[str]:
    return [flaw.emphasis for flaw in flaws if flaw.emphasis][:2]


def _join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _count(wish: Content) -> str:
    things = "two shapes" if len(wish.things) == 2 else "one shape"
    return f"{things} and a word" if wish.word else things
