"""The renderer: a `PictureContent` and a `Placement` become a 48x48 picture and its layers.

A `Placement` holds everything a request leaves open (where things stand, exact sizes and tints, the
background), so that an edited picture can keep what its source had.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .truth import PictureContent
from .world import LETTERS, SIDE, Content

Array = NDArray[np.float32]

PALETTE: Final = {
    "red": (0.86, 0.15, 0.14),
    "green": (0.12, 0.66, 0.22),
    "blue": (0.16, 0.30, 0.90),
    "yellow": (0.95, 0.83, 0.13),
}
RADIUS: Final = {"small": (4.1, 4.7), "large": (7.2, 8.0)}
"""Half extent in pixels: (smallest, largest) of each size."""
BLUR_SIGMA: Final = ((0.0, 0.45), (0.95, 1.15), (1.5, 1.8), (2.3, 2.8))
"""Range of the blur's standard deviation in pixels, by level; level 0 is the softness a clean picture may have."""
NOISE_SIGMA: Final = ((0.004, 0.015), (0.055, 0.07), (0.1, 0.125), (0.175, 0.21))
"""Range of the noise's standard deviation (picture values 0..1), by level."""
FAINT: Final = 0.15
"""Contrast of faint letters."""
BROWN_ON_LIGHT: Final = (0.36, 0.26, 0.13)
BROWN_ON_DARK: Final = (0.55, 0.4, 0.2)
"""Colour of stains, by background."""
WORD_TOP: Final = 36
"""With a word, things stay above this row and letters below it."""
LETTER_SIDE: Final = 10

_FONT: Final = {
    "A": "01110 10001 11111 10001 10001",
    "E": "11111 10000 11110 10000 11111",
    "G": "01111 10000 10011 10001 01111",
    "H": "10001 10001 11111 10001 10001",
    "I": "11111 00100 00100 00100 11111",
    "K": "10010 10100 11000 10100 10011",
    "L": "10000 10000 10000 10000 11111",
    "O": "01110 10001 10001 10001 01110",
    "T": "11111 00100 00100 00100 00100",
    "X": "10001 01010 00100 01010 10001",
}
GLYPHS: Final[dict[str, Array]] = {
    letter: np.kron(np.array([list(map(int, row)) for row in _FONT[letter].split()]), np.ones((2, 2))).astype(
        np.float32
    )
    for letter in LETTERS
}
"""Letter -> [10, 10] coverage."""
_Y, _X = (grid.astype(np.float32) for grid in np.mgrid[0:SIDE, 0:SIDE])


@dataclass(frozen=True)
class Placement:
    """What a request leaves open."""

    centres: tuple[tuple[float, float], ...]
    """(x, y) of each thing, pixels."""
    fullness: tuple[float, ...]
    """Where each thing's radius lies within its size's range, 0..1."""
    tints: tuple[tuple[float, float, float], ...]
    """Added to each thing's colour."""
    word_at: tuple[int, int]
    """(x, y) of the word's top left corner, pixels."""
    light: bool
    """Light background with dark letters, or the reverse."""
    base: float
    gradient: tuple[float, float]


def place(rng: np.random.Generator, content: Content, *, room_for_edits: bool = False) -> Placement:
    """A random placement; with `room_for_edits` every thing may grow and a word may be added later."""
    height = WORD_TOP if content.word or room_for_edits else SIDE
    count = len(content.things)
    reach = [RADIUS["large" if room_for_edits else thing.size or "large"][1] for thing in content.things]
    if count == 2 and content.relation:
        centres: tuple[tuple[float, float], ...] = _pair(rng, content.relation, reach, height)
    else:
        centres = tuple(
            (float(rng.uniform(r + 1, SIDE - r - 2)), float(rng.uniform(r + 1, height - r - 1))) for r in reach
        )
    light = bool(rng.random() < 0.5)
    return Placement(
        centres=centres,
        fullness=tuple(float(v) for v in rng.random(count)),
        tints=tuple(tuple(float(v) for v in rng.uniform(-0.06, 0.06, 3)) for _ in range(count)),  # type: ignore[misc]
        word_at=(int(rng.integers(9, 18)), int(rng.integers(WORD_TOP + 1, WORD_TOP + 3))),
        light=light,
        base=float(rng.uniform(0.66, 0.86) if light else rng.uniform(0.1, 0.28)),
        gradient=(float(rng.uniform(-0.08, 0.08)), float(rng.uniform(-0.08, 0.08))),
    )


@dataclass(frozen=True)
class Rendering:
    """A picture and where everything in it is: what a vision tower can be taught from."""

    picture: NDArray[np.uint8]
    """[48, 48, 3]."""
    things: Array
    """[number of things, 48, 48] coverage of each thing."""
    letters: NDArray[np.int64]
    """[48, 48]: 0, or 1 + index into LETTERS."""
    blotches: Array
    """[48, 48] coverage of stains."""


def render(rng: np.random.Generator, picture: PictureContent, placement: Placement) -> Rendering:
    """Draw `picture`."""
    canvas: NDArray[Any] = background(placement)
    masks = []
    for index, thing in enumerate(picture.content.things):
        mask = thing_mask(rng, picture, placement, index)
        masks.append(mask)
        colour = np.clip(np.array(PALETTE[str(thing.colour)]) + placement.tints[index], 0, 1)
        canvas = canvas * (1 - mask[..., None]) + mask[..., None] * colour
    letters = np.zeros((SIDE, SIDE), np.int64)
    if picture.content.word:
        ink, letters = word_layers(picture.content.word, placement.word_at)
        canvas = canvas * (1 - ink[..., None]) + ink[..., None] * letter_colour(placement, faint=picture.defects.faint)
    stains = np.zeros((SIDE, SIDE), np.float32)
    brown = np.array(BROWN_ON_LIGHT if placement.light else BROWN_ON_DARK)
    for _ in range(picture.defects.blotches):
        stain = _stain(rng)
        stains = np.maximum(stains, stain)
        canvas = canvas * (1 - stain[..., None]) + stain[..., None] * brown
    canvas = blur(canvas, rng.uniform(*BLUR_SIGMA[picture.defects.blur]))
    canvas = canvas + rng.standard_normal(canvas.shape) * rng.uniform(*NOISE_SIGMA[picture.defects.noise])
    pixels: NDArray[np.uint8] = (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)
    things = np.stack(masks) if masks else np.zeros((0, SIDE, SIDE), np.float32)
    return Rendering(pixels, things, letters, stains)


def background(placement: Placement) -> Array:
    """[48, 48, 3], values 0..1."""
    gx, gy = placement.gradient
    plane = placement.base + gx * (_X / SIDE - 0.5) + gy * (_Y / SIDE - 0.5)
    return np.repeat(plane[..., None], 3, axis=2)


def flipped_background(placement: Placement) -> Placement:
    """The same placement on the opposite background."""
    return replace(placement, light=not placement.light, base=0.9 - placement.base)


def radius(placement: Placement, size: str | None, index: int) -> float:
    low, high = RADIUS[size or "large"]
    return low + (high - low) * placement.fullness[index]


def thing_mask(rng: np.random.Generator, picture: PictureContent, placement: Placement, index: int) -> Array:
    """Coverage [48, 48] of one thing, with its defects."""
    thing = picture.content.things[index]
    x, y = placement.centres[index]
    r = radius(placement, thing.size, index)
    dx, dy = _X - x, _Y - y
    if picture.defects.deformed == index:
        a, b = rng.uniform(0, 2 * np.pi, 2)
        dx, dy = dx + 0.33 * r * np.sin(2.6 * dy / r + a), dy + 0.33 * r * np.sin(2.6 * dx / r + b)
    mask = shape_mask(thing.shape, dx, dy, r)
    if picture.defects.cropped == index:
        sides = ((1, 0), (-1, 0), (0, -1), (0, 1))  # a triangle without its base is only a smaller triangle
        nx, ny = sides[rng.integers(3 if thing.shape == "triangle" else 4)]
        cut = rng.uniform(-0.1, 0.3) * r
        mask = mask * np.clip(0.5 - (dx * nx + dy * ny - cut), 0, 1)
    return mask


def shape_mask(shape: str, dx: Any, dy: Any, r: float) -> Array:
    """Coverage of a shape of half extent `r` at offsets (dx, dy) from its centre, one pixel of smooth edge."""
    if shape == "circle":
        distance = np.sqrt(dx * dx + dy * dy) - r
    elif shape == "square":
        distance = np.maximum(np.abs(dx), np.abs(dy)) - 0.9 * r
    else:
        distance = np.maximum((np.abs(dx) * 1.8 - (dy + r) * 0.95) / 2.035, dy - 0.85 * r)
    cover: Array = np.clip(0.5 - distance, 0, 1).astype(np.float32)
    return cover


def word_layers(word: str, corner: tuple[int, int]) -> tuple[Array, NDArray[np.int64]]:
    """Coverage [48, 48] of a word's letters, and which letter each of their cells belongs to."""
    ink, cells = np.zeros((SIDE, SIDE), np.float32), np.zeros((SIDE, SIDE), np.int64)
    x, y = corner
    for letter in word:
        place = (slice(y, y + LETTER_SIDE), slice(x, x + LETTER_SIDE))
        ink[place] = GLYPHS[letter][: SIDE - y, : SIDE - x]
        cells[place] = 1 + LETTERS.index(letter)
        x += LETTER_SIDE + 2
    return ink, cells


def letter_colour(placement: Placement, *, faint: bool) -> float:
    if faint:
        return placement.base + (-FAINT if placement.light else FAINT)
    return 0.03 if placement.light else 0.97


def blur(picture: Array, sigma: float) -> Array:
    """Gaussian blur [H, W, C] with repeated edges; `sigma` in pixels."""
    if sigma < 0.2:
        return picture
    offsets = np.arange(SIDE)[:, None] - np.arange(-8, SIDE + 8)[None, :]
    kernel = np.exp(-(offsets**2) / (2 * sigma * sigma))
    kernel /= kernel.sum(axis=1, keepdims=True)
    inside = kernel[:, 8:-8]
    inside[:, 0] += kernel[:, :8].sum(axis=1)
    inside[:, -1] += kernel[:, -8:].sum(axis=1)
    blurred: Array = np.einsum("ij,jkc,lk->ilc", inside, picture, inside, optimize=True).astype(np.float32)
    return blurred


def _pair(
    rng: np.random.Generator, relation: str, reach: list[float], height: int
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Centres of two things in a clear relation: at least twice as far apart along it as across it."""
    horizontal = relation in ("left of", "right of")
    along, across = (SIDE, height) if horizontal else (height, SIDE)
    first = 0 if relation in ("left of", "above") else 1
    ra, rb = reach[first], reach[1 - first]
    slack = max(along - 2 * ra - 2 * rb - 4.0, 0.0)
    before, between = np.sort(rng.random(2)) * slack
    a = 1 + ra + before
    b = a + ra + rb + 1.5 + (between - before)
    limit = min(0.45 * (b - a), 9.0)
    a_across = rng.uniform(ra + 1, across - ra - 1.5)
    b_across = float(np.clip(a_across + rng.uniform(-limit, limit), rb + 1, across - rb - 1.5))
    points = [(a, a_across), (b, b_across)]
    if not horizontal:
        points = [(y, x) for x, y in points]
    ordered = points if first == 0 else points[::-1]
    (x0, y0), (x1, y1) = ordered
    return (float(x0), float(y0)), (float(x1), float(y1))


def _stain(rng: np.random.Generator) -> Array:
    """Coverage [48, 48] of one round soft stain."""
    x, y = rng.uniform(4, SIDE - 4, 2)
    size = rng.uniform(1.9, 2.7)
    stain: Array = np.clip(1.4 * np.exp(-((_X - x) ** 2 + (_Y - y) ** 2) / (2 * size * size)) - 0.15, 0, 1)
    return stain
