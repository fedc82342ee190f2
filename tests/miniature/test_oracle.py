"""The renderer and the oracle: what is drawn is what is read."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from rationalrewards_core.errors import RequestError
from rationalrewards_core.miniature import EXAMPLE
from rationalrewards_core.miniature.flaws import sample_generation
from rationalrewards_core.miniature.oracle import oracle_critique, read_picture
from rationalrewards_core.miniature.regions import components, dilated
from rationalrewards_core.miniature.render import place, render
from rationalrewards_core.miniature.truth import PictureContent, judge_generation
from rationalrewards_core.miniature.world import parse_request, sample_wish


def test_clean_pictures_are_read_right() -> None:
    rng = np.random.default_rng(10)
    right = []
    for _ in range(150):
        wish = sample_wish(rng)
        read = read_picture(render(rng, PictureContent(wish), place(rng, wish)).picture)
        right.append(judge_generation(wish, read).summary == "All as asked.")
    assert np.mean(right) >= 0.98


def test_flawed_pictures_are_mostly_read_right() -> None:
    """Some flaws cannot be told from a picture alone: a misshapen circle may look like a misshapen square."""
    rng = np.random.default_rng(11)
    agree: Counter[str] = Counter()
    error: dict[str, list[float]] = {}
    count = 150
    for _ in range(count):
        example = sample_generation(rng)
        read = read_picture(example.picture)
        told = judge_generation(parse_request(example.request), read)
        agree["word"] += read.content.word == example.depiction.content.word
        agree["noise"] += read.defects.noise == example.depiction.defects.noise
        agree["blur"] += read.defects.blur == example.depiction.defects.blur
        for judgement in example.critique.judgements:
            score = told.judgement(judgement.key).score
            assert (score is None) == (judgement.score is None)
            if score is not None and judgement.score is not None:
                error.setdefault(judgement.key, []).append(abs(score - judgement.score))
    assert min(agree.values()) / count >= 0.94, agree
    assert {key: np.mean(values) < 0.15 for key, values in error.items()} == dict.fromkeys(error, True), error


def test_hopeless_pictures_do_not_crash() -> None:
    rng = np.random.default_rng(12)
    for array in (
        np.zeros((48, 48, 3), np.uint8),
        np.full((48, 48, 3), 255, np.uint8),
        rng.integers(0, 256, (48, 48, 3), dtype=np.uint8),
        np.tile(np.arange(48, dtype=np.uint8)[:, None, None] * 5, (1, 48, 3)),
    ):
        critique = judge_generation(parse_request(EXAMPLE), read_picture(array))
        assert all(j.score is not None and 1.0 <= j.score <= 4.0 for j in critique.judgements)


def test_the_oracle_knows_only_its_world() -> None:
    with pytest.raises(RequestError):
        oracle_critique("a cat on a sofa", Image.new("RGB", (48, 48)))


def test_larger_copies_are_read_the_same() -> None:
    rng = np.random.default_rng(13)
    wish = parse_request(EXAMPLE)
    picture = Image.fromarray(render(rng, PictureContent(wish), place(rng, wish)).picture)
    large = picture.resize((192, 192), Image.Resampling.NEAREST)
    assert oracle_critique(EXAMPLE, large) == oracle_critique(EXAMPLE, picture)


def test_rendering_is_repeatable_and_says_where_things_are() -> None:
    wish = parse_request(EXAMPLE)
    first, again = (
        render(np.random.default_rng(3), PictureContent(wish), place(np.random.default_rng(3), wish)) for _ in range(2)
    )
    assert (first.picture == again.picture).all()
    assert first.things.shape == (2, 48, 48)
    assert first.things[0].sum() > first.things[1].sum(), "the large circle covers more than the small square"
    assert set(np.unique(first.letters)) == {0, 8, 6}, "O and K, one-based"


def test_regions() -> None:
    mask = np.zeros((5, 7), bool)
    mask[1, 1:3] = mask[3, 3] = mask[2, 4] = True
    found = components(mask)
    assert [int(region.sum()) for region in found] == [2, 1, 1]
    assert dilated(found[0], 1).sum() == 8
