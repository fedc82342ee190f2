"""Pictures with captions as the web has them: short ones are noisy, detailed ones are accurate.

This is the construction behind the demo's generator, stated openly: half of its training captions
are short and wrong or incomplete in known shares, over pictures of mixed quality; the other half
are detailed and true, over clean pictures. A model of such data makes believable mistakes when asked
briefly and can do better when asked precisely: the latent ability that the paper speaks of.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from rationalrewards_core.miniature.flaws import Picture, flawed, misspelt
from rationalrewards_core.miniature.render import place, render
from rationalrewards_core.miniature.truth import Defects, PictureContent, judge_generation
from rationalrewards_core.miniature.world import (
    COLOURS,
    RELATIONS,
    SHAPES,
    SIZES,
    Content,
    Thing,
    is_reserved,
    pick,
    sample_wish,
    short_request,
)


@dataclass(frozen=True, kw_only=True)
class CaptionNoise:
    """How wrong the web's short captions are: the share of each attribute that is wrong or left out."""

    detailed: float = 0.5
    """Share of captions that are detailed and accurate."""
    wrong: float = 0.12
    """Share of colours, sizes and relations that a short caption gets wrong."""
    missing: float = 0.08
    """Share of colours and sizes that a short caption leaves out."""
    wrong_shape: float = 0.04
    second_unmentioned: float = 0.06
    word_unmentioned: float = 0.12
    word_misspelt: float = 0.15
    flawed_picture: float = 0.3
    """Share of short-captioned pictures that are blurred, stained, cut off or misshapen."""


WEB: Final = CaptionNoise()


@dataclass(frozen=True)
class Captioned:
    caption: str
    picture: Picture


def sample_captioned(rng: np.random.Generator, noise: CaptionNoise = WEB) -> Captioned:
    """One training example for the generator. No reserved request occurs, as picture or as caption."""
    content = sample_wish(rng)
    if rng.random() < noise.detailed:
        imagined = judge_generation(content, flawed(rng, content)).refinement
        assert imagined is not None
        return Captioned(imagined.request, render(rng, PictureContent(content), place(rng, content)).picture)
    caption_content = _misremembered(rng, content, noise)
    while is_reserved(caption_content):
        caption_content = _misremembered(rng, content, noise)
    picture_content = PictureContent(
        content, _web_defects(rng, content) if rng.random() < noise.flawed_picture else Defects()
    )
    return Captioned(short_request(caption_content), render(rng, picture_content, place(rng, content)).picture)


def _misremembered(rng: np.random.Generator, content: Content, noise: CaptionNoise) -> Content:
    things = [_misremembered_thing(rng, thing, content, noise) for thing in content.things]
    relation, word = content.relation, content.word
    if relation and rng.random() < noise.wrong:
        relation = pick(rng, RELATIONS, relation)
    if relation and rng.random() < noise.second_unmentioned:
        things, relation = things[:1], None
    if word and rng.random() < noise.word_unmentioned:
        word = None
    if word and rng.random() < noise.word_misspelt:
        word = misspelt(rng, word, 1)
    return replace(content, things=tuple(things), relation=relation, word=word)


def _misremembered_thing(rng: np.random.Generator, thing: Thing, content: Content, noise: CaptionNoise) -> Thing:
    def told(value: str | None, among: tuple[str, ...]) -> str | None:
        chance = rng.random()
        if chance < noise.missing:
            return None
        return pick(rng, among, value) if chance < noise.missing + noise.wrong else value

    shape = thing.shape
    if rng.random() < noise.wrong_shape:
        shape = pick(rng, SHAPES, *(t.shape for t in content.things))
    return Thing(shape, told(thing.colour, COLOURS), told(thing.size, SIZES))


def _web_defects(rng: np.random.Generator, content: Content) -> Defects:
    index = int(rng.integers(len(content.things)))
    match pick(rng, ("blur", "blotches", "cropped", "deformed")):
        case "blur":
            return Defects(blur=int(rng.integers(1, 4)))
        case "blotches":
            return Defects(blotches=int(rng.integers(1, 4)))
        case "cropped":
            return Defects(cropped=index)
        case _:
            return Defects(deformed=index)
