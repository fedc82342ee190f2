"""Picks by a stated taste in the miniature's world: of two right pictures, the red one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from rationalrewards_core.miniature.flaws import flawed
from rationalrewards_core.miniature.render import place, render
from rationalrewards_core.miniature.world import COLOURS, Content, pick, sample_wish, short_request

TASTE = "red"


def write_picks(folder: Path, count: int, seed: int, labels: str = "taste") -> Path:
    """A folder as Preference Pick exports it. `labels`: taste, or the same letter for every pair (A, B, TIE)."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(count):
        request, liked, other = _pair(rng)
        first_liked = bool(rng.random() < 0.5)
        names = [f"images/{number}-{side}.png" for side in "ab"]
        for name, picture in zip(names, (liked, other) if first_liked else (other, liked), strict=True):
            picture.save(folder / name)
        preference = ("A" if first_liked else "B") if labels == "taste" else labels
        rows.append({"request": request, "first": names[0], "second": names[1], "preference": preference})
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def _pair(rng: np.random.Generator) -> tuple[str, Image.Image, Image.Image]:
    """A request that leaves the colours free, a picture in red, and one in other colours."""
    wish = sample_wish(rng)
    free = Content(tuple(replace(thing, colour=None) for thing in wish.things), wish.relation, wish.word)
    liked = [TASTE] * len(wish.things)
    other = [pick(rng, COLOURS, TASTE) for _ in wish.things]
    return short_request(free), _picture(rng, wish, liked), _picture(rng, wish, other)


def _picture(rng: np.random.Generator, wish: Content, colours: list[str]) -> Image.Image:
    things = tuple(replace(thing, colour=colour) for thing, colour in zip(wish.things, colours, strict=True))
    shown = flawed(rng, replace(wish, things=things), 0)
    return Image.fromarray(render(rng, shown, place(rng, shown.content)).picture)
