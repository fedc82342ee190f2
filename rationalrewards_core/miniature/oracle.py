"""The oracle: reads what a 48x48 picture shows from its pixels alone, by analysis and by synthesis.

It is analytic (colour unmixing, template fitting, matched filters; no learning), so it is a judge
that no training in this project can have taught or fooled on purpose. `tests` and the model card
state how often it reads a rendered picture right. `oracle_reward` is what the demo calls the truth.

    shown = read_picture(picture)                       # PictureContent
    critique = judge_generation(parse_request(text), shown)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..critique import Critique
from ..pixels import to_rgb
from .regions import components, dilated
from .render import (
    BLUR_SIGMA,
    BROWN_ON_DARK,
    BROWN_ON_LIGHT,
    GLYPHS,
    LETTER_SIDE,
    PALETTE,
    RADIUS,
    WORD_TOP,
    shape_mask,
)
from .truth import Defects, PictureContent, judge_generation
from .world import LETTERS, SHAPES, SIDE, Content, Thing, parse_request

Array = NDArray[np.float32]

WINDOW: Final = 25
"""Side of the square in which a thing is fitted, pixels."""
SIGMAS: Final = tuple(sum(pair) / 2 for pair in BLUR_SIGMA)
SMOOTHED_SIGMAS: Final = tuple(float(np.hypot(sigma, 0.71)) for sigma in SIGMAS)
"""The same blurs as they look after the smoothing that noisy pictures get first."""
EDGE_STEPS: Final = (0.41, 0.275, 0.19)
"""Steepest coverage change per pixel below which an edge counts as slightly, clearly, heavily blurred."""
NOISE_STEPS: Final = (0.032, 0.083, 0.148)
"""Noise deviation at which a picture starts to count as slightly, clearly, heavily noisy."""
_Y, _X = (grid.astype(np.float32) for grid in np.mgrid[0:SIDE, 0:SIDE])
_HALF = WINDOW // 2
_WY, _WX = (grid.astype(np.float32) for grid in np.mgrid[-_HALF : _HALF + 1, -_HALF : _HALF + 1])


@dataclass(frozen=True)
class Fit:
    """How one coloured region is best explained."""

    thing: Thing
    centre: tuple[float, float]
    error: float
    """Squared misfit relative to the template's energy; below about 0.1 is a clean fit."""
    blur: int
    cropped: bool
    deformed: bool


def oracle_critique(request: str, picture: Image.Image) -> Critique:
    """The true critique of a picture of the miniature world. RequestError for other requests."""
    pixels = np.asarray(to_rgb(picture).resize((SIDE, SIDE), Image.Resampling.BOX), np.uint8)
    return judge_generation(parse_request(request), read_picture(pixels))


def read_picture(picture: NDArray[np.uint8]) -> PictureContent:
    """What the picture shows: its things, their relation, its word and its defects."""
    pixels = picture.astype(np.float32) / 255.0
    noise = _noise(pixels)
    grainy = noise > NOISE_STEPS[0]
    calm = _smoothed(pixels) if grainy else pixels
    ground = _background(calm)
    classes, cover = _unmix(calm, ground)
    fits = _things(classes, cover, SMOOTHED_SIGMAS if grainy else SIGMAS)
    word, faint, word_blur = _word(calm - ground)
    order = sorted(fits, key=lambda fit: fit.centre)
    things = tuple(fit.thing for fit in order)
    relation = _relation(order[0].centre, order[1].centre) if len(order) == 2 else None
    levels = [fit.blur for fit in order] or [word_blur]
    return PictureContent(
        Content(things, relation, word),
        Defects(
            blur=round(float(np.median(levels))),
            noise=sum(noise > step for step in NOISE_STEPS),
            blotches=min(3, _blotches(classes)),
            cropped=next((i for i, fit in enumerate(order) if fit.cropped), None),
            deformed=next((i for i, fit in enumerate(order) if fit.deformed), None),
            faint=faint,
        ),
    )


def _noise(pixels: Array) -> float:
    """Standard deviation of pixel noise (Immerkaer's mask, by its median so that edges do not count)."""
    c = pixels
    high = (
        4 * c[1:-1, 1:-1]
        - 2 * (c[:-2, 1:-1] + c[2:, 1:-1] + c[1:-1, :-2] + c[1:-1, 2:])
        + c[:-2, :-2] + c[:-2, 2:] + c[2:, :-2] + c[2:, 2:]
    )  # fmt: skip
    return float(np.median(np.abs(high)) / 0.6745 / 6.0)


def _smoothed(pixels: Array) -> Array:
    """A 3x3 binomial filter: enough to segment a noisy picture."""
    padded = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    smooth: Array = np.asarray((rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 4, np.float32)
    return smooth


def _background(pixels: Array) -> Array:
    """The grey plane behind everything, [48, 48, 3], by reweighted least squares from the median."""
    grey = pixels.mean(axis=2)
    chroma = pixels.max(axis=2) - pixels.min(axis=2)
    design = np.stack([np.ones_like(_X), _X / SIDE - 0.5, _Y / SIDE - 0.5], axis=-1).reshape(-1, 3)
    plane = np.full(SIDE * SIDE, np.median(grey[chroma < 0.15]) if (chroma < 0.15).sum() > 100 else np.median(grey))
    for width in (0.2, 0.12, 0.08, 0.06):
        near = (np.abs(grey.ravel() - plane) < width) & (chroma.ravel() < 0.2)
        if near.sum() < 60:
            break
        plane = design @ np.linalg.lstsq(design[near], grey.ravel()[near], rcond=None)[0]
    return np.repeat(plane.reshape(SIDE, SIDE, 1), 3, axis=2).astype(np.float32)


COLOUR_CLASSES: Final = (*PALETTE, "brown", "letter")


def _unmix(pixels: Array, ground: Array) -> tuple[NDArray[np.int64], Array]:
    """Per pixel the class (index into COLOUR_CLASSES, -1 for background) and its coverage 0..1.

    A pixel lies on the line from the background to its class's colour; the nearest line wins.
    """
    light = float(ground.mean()) > 0.45
    brown = BROWN_ON_LIGHT if light else BROWN_ON_DARK
    ink = (0.03,) * 3 if light else (0.97,) * 3
    colours = np.array([*PALETTE.values(), brown, ink], np.float32)
    lines = colours[:, None, None, :] - ground[None]
    offset = pixels - ground
    cover = np.clip((offset[None] * lines).sum(-1) / (lines * lines).sum(-1), 0, 1)
    distance = np.linalg.norm(offset[None] - cover[..., None] * lines, axis=-1)
    distance[4] += 0.03  # brown lies between others: it must fit clearly better
    best = distance.argmin(axis=0)
    best_cover = np.take_along_axis(cover, best[None], axis=0)[0]
    strength = np.linalg.norm(offset, axis=-1)
    best = np.where(strength < 0.13, -1, best)
    return best, np.where(best >= 0, best_cover, 0).astype(np.float32)


def _things(classes: NDArray[np.int64], cover: Array, sigmas: tuple[float, ...]) -> list[Fit]:
    """One fit per coloured region large and solid enough to be a thing."""
    seeds = []
    for index, colour in enumerate(PALETTE):
        for region in components((classes == index) & (cover > 0.45)):
            if region.sum() >= 7:
                seeds.append((colour, index, region))
    total = np.zeros((SIDE, SIDE), bool)
    for _, _, region in seeds:
        total |= region
    fits = []
    for colour, index, region in seeds:
        near = dilated(region, 3) & ~dilated(total & ~region, 1)
        soft = np.where(near & ((classes == index) | (classes == -1)), cover, 0)
        if soft.sum() >= 12 and cover[region].max() > 0.55:
            fits.append(_fit(soft, colour, sigmas))
    return sorted(fits, key=lambda fit: -_area(fit.thing))[:3]


def _area(thing: Thing) -> float:
    return RADIUS[str(thing.size)][0]


def _fit(soft: Array, colour: str, sigmas: tuple[float, ...]) -> Fit:
    """Explain a coverage map by a shape, a size, a blur and perhaps a cut."""
    mass = float(soft.sum())
    x, y = float((soft * _X).sum() / mass), float((soft * _Y).sum() / mass)
    ox, oy = round(x), round(y)
    window = np.pad(soft, _HALF)[oy : oy + WINDOW, ox : ox + WINDOW]
    whole, cut = _templates(False), _templates(True)
    error_whole, pick_whole = _best(window, mass, whole, (x - ox, y - oy), sigmas)
    error_cut, pick_cut = _best(window, mass, cut, (x - ox, y - oy), sigmas)
    cropped = error_cut < 0.55 * error_whole and error_whole > 0.035
    template = cut[pick_cut[0]] if cropped else whole[pick_whole[0]]
    error, blur_level = (error_cut, pick_cut[1]) if cropped else (error_whole, pick_whole[1])
    deformed = error > 0.075
    size = "large" if template.radius > 5.9 else "small"
    if deformed:
        size = "large" if mass > 95 else "small"
        blur_level = _edge_blur(soft)
    return Fit(Thing(template.shape, colour, size), (x, y), error, blur_level, cropped and not deformed, deformed)


def _edge_blur(soft: Array) -> int:
    """Blur level of an outline that no template explains, from its steepest edges."""
    steepest = np.sort(np.hypot(*np.gradient(soft)).ravel())[-6:].mean()
    return sum(float(steepest) < step for step in EDGE_STEPS)


@dataclass(frozen=True)
class Template:
    """A shape of one size, whole or cut, with its centre of mass at the origin."""

    shape: str
    radius: float
    cut: tuple[float, float, float] | None
    mass: float
    centre: tuple[float, float]

    def draw(self, dx: float, dy: float) -> Array:
        """Coverage [WINDOW, WINDOW] with the centre of mass at (dx, dy) from the window's middle."""
        x, y = _WX - dx + self.centre[0], _WY - dy + self.centre[1]
        return _cut_mask(self.shape, x, y, self.radius, self.cut)


@cache
def _templates(cut: bool) -> tuple[Template, ...]:
    cuts: list[tuple[float, float, float] | None] = [None]
    if cut:
        sides = ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0))
        cuts = [(nx, ny, c) for nx, ny in sides for c in (-0.05, 0.1, 0.25)]
    radii = (4.4, 7.6) if cut else (3.8, 4.1, 4.4, 4.7, 5.2, 6.2, 7.0, 7.3, 7.6, 7.9, 8.3)
    templates = []
    for shape in SHAPES:
        for r in radii:
            for c in cuts:
                mask = _cut_mask(shape, _WX, _WY, r, c)
                mass = float(mask.sum())
                centre = float((mask * _WX).sum() / mass), float((mask * _WY).sum() / mass)
                templates.append(Template(shape, r, c, mass, centre))
    return tuple(templates)


def _cut_mask(shape: str, x: Any, y: Any, r: float, cut: tuple[float, float, float] | None) -> Array:
    mask = shape_mask(shape, x, y, r)
    if cut is not None:
        mask = mask * np.clip(0.5 - (x * cut[0] + y * cut[1] - cut[2] * r), 0, 1)
    return mask


def _best(
    window: Array, mass: float, templates: tuple[Template, ...], at: tuple[float, float], sigmas: tuple[float, ...]
) -> tuple[float, tuple[int, int]]:
    """(error, (template, blur level)) of the best explanation among templates of about the right mass."""
    likely = [i for i, t in enumerate(templates) if 0.72 < t.mass / mass < 1.38] or list(range(len(templates)))
    drawings = np.stack([templates[i].draw(*at) for i in likely])
    errors = np.stack([((_blurred(drawings, s) - window) ** 2).sum((1, 2)) for s in sigmas], axis=1)
    errors /= (window**2).sum()
    row, level = divmod(int(errors.argmin()), len(sigmas))
    return float(errors[row, level]), (likely[row], level)


def _blurred(stack: Array, sigma: float) -> Array:
    """Gaussian blur of [N, WINDOW, WINDOW] on an empty surround."""
    if sigma < 0.3:
        return stack
    offsets = np.arange(WINDOW)
    kernel = np.exp(-((offsets[:, None] - offsets[None, :]) ** 2) / (2 * sigma * sigma))
    kernel /= kernel[WINDOW // 2].sum()
    soft: Array = (kernel @ stack @ kernel.T).astype(np.float32)
    return soft


def _relation(first: tuple[float, float], second: tuple[float, float]) -> str:
    dx, dy = second[0] - first[0], second[1] - first[1]
    if abs(dx) >= abs(dy):
        return "left of" if dx > 0 else "right of"
    return "above" if dy > 0 else "below"


@cache
def _glyph_filters(sigma: float) -> Array:
    """[letters, 14 * 14] zero-mean unit filters: each letter with two pixels of empty margin."""
    filters = []
    for letter in LETTERS:
        padded = np.zeros((WINDOW, WINDOW), np.float32)
        padded[2 : 2 + LETTER_SIDE, 2 : 2 + LETTER_SIDE] = GLYPHS[letter]
        soft = _blurred(padded[None], sigma)[0][: LETTER_SIDE + 4, : LETTER_SIDE + 4].ravel()
        soft = soft - soft.mean()
        filters.append(soft / np.linalg.norm(soft))
    return np.stack(filters)


def _word(offset: Array) -> tuple[str | None, bool, int]:
    """The two letters in the lower strip, whether they are faint, and their blur level."""
    grey = offset.mean(axis=2)
    chroma = offset.max(axis=2) - offset.min(axis=2)
    ink = np.where(chroma < 0.16, grey, 0.0)
    padded = np.pad(ink, 4)
    side = LETTER_SIDE + 4
    likeliest: tuple[float, str, float, int] | None = None
    for level, sigma in enumerate(SIGMAS):
        filters = _glyph_filters(sigma)
        for y in range(WORD_TOP - 1, SIDE - LETTER_SIDE + 2):
            strip = padded[y + 2 : y + 2 + side]
            windows = np.lib.stride_tricks.sliding_window_view(strip, side, axis=1).transpose(1, 0, 2)
            flat = windows.reshape(len(windows), -1)
            flat = flat - flat.mean(axis=1, keepdims=True)
            power = np.linalg.norm(flat, axis=1) + 1e-3
            response = flat @ filters.T
            match = np.abs(response) / power[:, None]
            best, letter = match.max(axis=1), match.argmax(axis=1)
            strength = np.abs(response).max(axis=1)
            for x in range(4, 24):
                i, j = x + 2, x + 2 + LETTER_SIDE + 2
                score = float(best[i] + best[j])
                if (likeliest is None or score > likeliest[0]) and min(strength[i], strength[j]) > 0.35:
                    contrast = float(max(strength[i], strength[j]))
                    likeliest = (score, LETTERS[letter[i]] + LETTERS[letter[j]], contrast, level)
    if likeliest is None or likeliest[0] < 1.3:
        return None, False, 0
    return likeliest[1], likeliest[2] < 1.35, likeliest[3]


def _blotches(classes: NDArray[np.int64]) -> int:
    return sum(1 for region in components(classes == COLOUR_CLASSES.index("brown")) if region.sum() >= 9)
