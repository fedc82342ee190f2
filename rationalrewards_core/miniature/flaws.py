"""Flawed pictures on purpose: scenes that depart from a wish or an edit in known ways, with their truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..critique import Critique
from .edits import Edit, apply_edit, sample_edit
from .render import Placement, Rendering, flipped_background, place, render
from .truth import Defects, PictureContent, judge_edit, judge_generation
from .world import (
    COLOURS,
    LETTERS,
    OPPOSITE,
    RELATIONS,
    SHAPES,
    SIZES,
    WORDS,
    Content,
    Thing,
    detailed_request,
    pick,
    sample_wish,
    short_request,
)

Picture = NDArray[np.uint8]

CONTENT_FLAWS: Final = ("colour", "size", "shape", "missing", "relation", "swap", "extra", "stray word")
VISUAL_FLAWS: Final = ("blur", "noise", "blotches", "cropped", "deformed")
WORD_FLAWS: Final = ("one letter", "both letters", "no word", "faint")


@dataclass(frozen=True)
class Example:
    """A picture, what was asked, and the truth about it."""

    request: str
    """As the judge sees it."""
    rendering: Rendering
    critique: Critique
    depiction: PictureContent
    source: Picture | None = None
    """The source picture of an edit, [48, 48, 3] uint8."""
    masks_known: bool = True
    """Whether the rendering says what stands where; not so for a picture that a model drew."""

    @property
    def picture(self) -> Picture:
        return self.rendering.picture


def sample_generation(rng: np.random.Generator, *, reserved: bool = False, flaws: int | None = None) -> Example:
    """A generated picture; `flaws` fixes how many flaws are planted (None: a natural mixture)."""
    wish = sample_wish(rng, omit=0.2 if rng.random() < 0.3 else 0.0, reserved=reserved)
    content = flawed(rng, wish, flaws)
    return Example(
        request=short_request(wish) if rng.random() < 0.9 else detailed_request(wish),
        rendering=render(rng, content, place(rng, content.content)),
        critique=judge_generation(wish, content),
        depiction=content,
    )


def sample_edited(rng: np.random.Generator, *, reserved: bool = False) -> Example:
    """A source picture, an edit request, and an edited picture that may have gone wrong."""
    return sample_attempts(rng, 1, reserved=reserved)[0]


def sample_attempts(rng: np.random.Generator, count: int, *, reserved: bool = False) -> tuple[Example, ...]:
    """`count` attempts at one edit of one source picture, each with flaws of its own."""
    source = sample_wish(rng, reserved=reserved)
    placement = place(rng, source, room_for_edits=True)
    edit = sample_edit(rng, source)
    attempts = [edited_example(rng, edit, source, placement) for _ in range(count)]
    before = render(rng, PictureContent(source), placement).picture
    return tuple(replace(attempt, source=before) for attempt in attempts)


def edited_example(rng: np.random.Generator, edit: Edit, source: Content, placement: Placement) -> Example:
    """`source`, placed by `placement`, after an edit that may have gone wrong; without the source picture."""
    content, places, background_kept = _flawed_edit(rng, edit, source)
    after = replace(
        placement,
        centres=tuple(placement.centres[i] for i in places),
        fullness=tuple(placement.fullness[i] for i in places),
        tints=tuple(placement.tints[i] for i in places),
    )
    return Example(
        request=str(edit),
        rendering=render(rng, content, after if background_kept else flipped_background(after)),
        critique=judge_edit(edit, source, content, background_kept=background_kept),
        depiction=content,
    )


def flawed(rng: np.random.Generator, wish: Content, flaws: int | None = None) -> PictureContent:
    """What a picture of `wish` shows when things go wrong. Free attributes are filled in."""
    content = complete(rng, wish)
    if flaws is None:
        planned = [pick(rng, CONTENT_FLAWS) for _ in range(rng.choice(4, p=(0.4, 0.35, 0.18, 0.07)))]
        planned += [pick(rng, VISUAL_FLAWS) for _ in range(rng.choice(3, p=(0.5, 0.4, 0.1)))]
        planned += [pick(rng, WORD_FLAWS)] if wish.word and rng.random() < 0.45 else []
    else:
        among = (*CONTENT_FLAWS, *VISUAL_FLAWS, *(WORD_FLAWS if wish.word else ()))
        planned = [pick(rng, among) for _ in range(flaws)]
    for flaw in planned:
        content = _with_content_flaw(rng, content, flaw)
    return PictureContent(content, _defects(rng, content, planned))


def complete(rng: np.random.Generator, wish: Content) -> Content:
    """The wish with its free colours and sizes chosen."""
    things = tuple(
        Thing(t.shape, t.colour or str(rng.choice(COLOURS)), t.size or str(rng.choice(SIZES))) for t in wish.things
    )
    return replace(wish, things=things)


def _with_content_flaw(rng: np.random.Generator, content: Content, flaw: str) -> Content:
    """`content` with one thing about it changed; flaws that do not fit (a relation of one thing) change nothing."""
    things = list(content.things)
    index = int(rng.integers(len(things))) if things else 0
    match flaw:
        case "colour" if things:
            things[index] = replace(things[index], colour=pick(rng, COLOURS, things[index].colour))
        case "size" if things:
            things[index] = replace(things[index], size=pick(rng, SIZES, things[index].size))
        case "shape" if things:
            things[index] = replace(things[index], shape=pick(rng, SHAPES, *(t.shape for t in things)))
        case "missing" if len(things) == 2 or (things and rng.random() < 0.3):
            del things[index]
            return replace(content, things=tuple(things), relation=None)
        case "relation" if content.relation:
            wrong = OPPOSITE[content.relation] if rng.random() < 0.6 else pick(rng, RELATIONS, content.relation)
            return replace(content, relation=wrong)
        case "swap" if len(things) == 2:
            first, second = things
            things = [replace(first, colour=second.colour), replace(second, colour=first.colour)]
        case "extra" if len(things) == 1:
            things.append(Thing(pick(rng, SHAPES, things[0].shape), pick(rng, COLOURS), pick(rng, SIZES)))
            return replace(content, things=tuple(things), relation=pick(rng, RELATIONS))
        case "stray word" if content.word is None:
            return replace(content, word=pick(rng, WORDS))
        case "one letter" | "both letters" if content.word:
            return replace(content, word=misspelt(rng, content.word, 1 if flaw == "one letter" else 2))
        case "no word":
            return replace(content, word=None)
    return replace(content, things=tuple(things))


def misspelt(rng: np.random.Generator, word: str, wrong: int) -> str:
    """The word with `wrong` of its letters replaced by others."""
    letters = list(word)
    for index in rng.permutation(len(word))[:wrong]:
        letters[index] = pick(rng, tuple(LETTERS), letters[index])
    return "".join(letters)


def _defects(rng: np.random.Generator, content: Content, names: list[str]) -> Defects:
    index = int(rng.integers(len(content.things))) if content.things else None
    level = int(rng.choice((1, 2, 3), p=(0.4, 0.35, 0.25)))
    return Defects(
        blur=level if "blur" in names else 0,
        noise=int(rng.integers(1, 4)) if "noise" in names else 0,
        blotches=int(rng.integers(1, 4)) if "blotches" in names else 0,
        cropped=index if "cropped" in names else None,
        deformed=index if "deformed" in names and "cropped" not in names else None,
        faint="faint" in names and content.word is not None,
    )


def _flawed_edit(rng: np.random.Generator, edit: Edit, source: Content) -> tuple[PictureContent, list[int], bool]:
    """What the edited picture shows, which source place each of its things has, whether the background stays."""
    content = source if rng.random() < 0.25 else apply_edit(edit, source)
    removed = edit.kind == "remove" and len(content.things) < len(source.things)
    places = [i for i, t in enumerate(source.things) if not (removed and t.shape == edit.shape)]
    background_kept = True
    for _ in range(rng.choice(3, p=(0.45, 0.4, 0.15))):
        flaw = pick(rng, ("colour", "size", "shape", "missing", "layout", "word", "background"))
        if flaw == "missing" and len(content.things) == 2:
            lost = int(rng.integers(2))
            del places[lost]
            content = replace(content, things=(content.things[1 - lost],), relation=None)
        elif flaw == "layout" and content.relation:
            places.reverse()
            content = replace(content, relation=OPPOSITE[content.relation])
        elif flaw == "word":
            spoiled = "stray word" if content.word is None else pick(rng, ("one letter", "no word"))
            content = _with_content_flaw(rng, content, spoiled)
        elif flaw == "background":
            background_kept = False
        elif flaw in ("colour", "size", "shape"):
            content = _with_content_flaw(rng, content, flaw)
    planned = [pick(rng, VISUAL_FLAWS)] if rng.random() < 0.4 else []
    planned += ["faint"] if edit.asks_for_text and rng.random() < 0.1 else []
    return PictureContent(content, _defects(rng, content, planned)), places, background_kept
