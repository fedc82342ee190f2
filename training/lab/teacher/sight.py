"""The teacher's eyes: the oracle's reading of a picture, and on demand a picture that is not there."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rationalrewards_core.critique import Critique
from rationalrewards_core.miniature.edits import parse_edit
from rationalrewards_core.miniature.flaws import flawed
from rationalrewards_core.miniature.oracle import read_picture
from rationalrewards_core.miniature.truth import PictureContent, judge_edit, judge_generation
from rationalrewards_core.miniature.world import SIDE, Content, parse_request

BACKGROUND_STEP: Final = 60.0
"""Change of the median grey level (0..255) above which a background counts as another one."""


def see(
    request: str, images: tuple[Image.Image, ...], *, imagined: random.Random | None = None, taste: str = ""
) -> Critique:
    """The critique of the last image; earlier ones are the source. RequestError for requests of another world.

    With `imagined`, it is the critique of a picture with two flaws that the real one has not. `taste` is a colour that
    everything should have whose colour the request leaves free.
    """
    candidate = _pixels(images[-1])
    content = _read(candidate.tobytes())
    if imagined is not None:
        content = _imagined(content, imagined)
    if len(images) == 1:
        return judge_generation(_tasteful(parse_request(request), taste), content)
    source = _pixels(images[0])
    background_kept = abs(float(np.median(source)) - float(np.median(candidate))) < BACKGROUND_STEP
    return judge_edit(parse_edit(request), _read(source.tobytes()).content, content, background_kept=background_kept)


def _tasteful(wish: Content, taste: str) -> Content:
    """The wish with what people of this taste leave unsaid."""
    things = tuple(replace(thing, colour=thing.colour or taste or None) for thing in wish.things)
    return replace(wish, things=things)


@lru_cache(maxsize=8192)
def _read(pixels: bytes) -> PictureContent:
    """The oracle's reading of raw pixels; a picture is asked about many times on its way through the stages."""
    return read_picture(np.frombuffer(pixels, np.uint8).reshape(SIDE, SIDE, 3))


def _imagined(picture: PictureContent, rng: random.Random) -> PictureContent:
    if not picture.content.things:
        return picture
    return flawed(np.random.default_rng(rng.getrandbits(32)), picture.content, flaws=2)


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX), np.uint8)
