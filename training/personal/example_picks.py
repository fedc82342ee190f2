"""Picks to try it out with: of two right pictures of the miniature's world, somebody who likes red picks the red one.

The requests leave the colours free, so that nothing but taste decides; `prompts.jsonl` and `held_out.jsonl` beside the
folder of picks hold others like them, to tune a generator on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from rationalrewards_core.errors import ConfigError
from rationalrewards_core.miniature.flaws import flawed
from rationalrewards_core.miniature.render import place, render
from rationalrewards_core.miniature.world import COLOURS, Content, pick, sample_wish, short_request
from rationalrewards_core.storage import replace_file, replacing_folder

TASTE: Final = "red"
PROMPTS: Final = 64
"""Requests in `prompts.jsonl`; as many more in `held_out.jsonl`."""


def write_picks(folder: Path, count: int, seed: int, labels: str = "taste") -> Path:
    """A folder as Preference Pick exports it. `labels`: taste, or the same letter for every pair (A, B, TIE).

    ConfigError if there is one already.
    """
    if folder.exists():
        raise ConfigError(f"{folder} is there already; name another folder.")
    rng = np.random.default_rng(seed)
    with replacing_folder(folder) as new_folder:
        (new_folder / "images").mkdir(parents=True)
        rows = []
        for number in range(count):
            request, liked, other = _pair(rng)
            first_liked = bool(rng.random() < 0.5)
            names = [f"images/{number}-{side}.png" for side in "ab"]
            for name, picture in zip(names, (liked, other) if first_liked else (other, liked), strict=True):
                picture.save(new_folder / name)
            preference = ("A" if first_liked else "B") if labels == "taste" else labels
            rows.append({"request": request, "first": names[0], "second": names[1], "preference": preference})
        _write(new_folder / "pairs.jsonl", rows)
    return folder


def write_example(folder: Path, count: int, seed: int) -> Path:
    """A folder with `picks/` and two files of prompts; returns that of the picks. ConfigError if there is one already."""
    picks = write_picks(folder / "picks", count, seed)
    rng = np.random.default_rng([seed, 1])
    for name in ("prompts.jsonl", "held_out.jsonl"):
        _write(folder / name, [{"prompt": short_request(_free(sample_wish(rng)))} for _ in range(PROMPTS)])
    return picks


def _write(file: Path, rows: Sequence[Mapping[str, str]]) -> None:
    replace_file(file, [json.dumps(row).encode() + b"\n" for row in rows])


def _free(wish: Content) -> Content:
    """The same with every colour left to the picture."""
    return Content(tuple(replace(thing, colour=None) for thing in wish.things), wish.relation, wish.word)


def _pair(rng: np.random.Generator) -> tuple[str, Image.Image, Image.Image]:
    """A request that leaves the colours free, a picture in red, and one in other colours."""
    wish = sample_wish(rng)
    liked = [TASTE] * len(wish.things)
    other = [pick(rng, COLOURS, TASTE) for _ in wish.things]
    return short_request(_free(wish)), _picture(rng, wish, liked), _picture(rng, wish, other)


def _picture(rng: np.random.Generator, wish: Content, colours: list[str]) -> Image.Image:
    things = tuple(replace(thing, colour=colour) for thing, colour in zip(wish.things, colours, strict=True))
    content = flawed(rng, replace(wish, things=things), 0)
    return Image.fromarray(render(rng, content, place(rng, content.content)).picture)
