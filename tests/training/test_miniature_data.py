"""What the miniature is trained on: captions as wrong as stated, and nothing that is held out for evaluation."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from PIL import Image

from rationalrewards_core.miniature.flaws import sample_edited, sample_generation
from rationalrewards_core.miniature.oracle import oracle_critique
from rationalrewards_core.miniature.render import place, render
from rationalrewards_core.miniature.truth import PictureContent
from rationalrewards_core.miniature.world import Content, is_reserved, parse_request, sample_wish, short_request
from training.lab.miniature.captions import WEB, sample_captioned
from training.lab.miniature.drawn import DrawnConfig, drawn_examples
from training.lab.miniature.sft import BatchMaker

pytestmark = pytest.mark.model


@cache
def captioned(detailed: float, count: int) -> list[tuple[Content, str, Image.Image]]:
    """What was meant, the caption, the picture; meaning is drawn first, so the seed tells it."""
    noise = replace(WEB, detailed=detailed)
    found = []
    for seed in range(count):
        drawn = sample_captioned(np.random.default_rng(seed), noise)
        meant = sample_wish(np.random.default_rng(seed))
        found.append((meant, drawn.caption, Image.fromarray(drawn.picture)))
    return found


class TestCaptions:
    def test_short_ones_are_wrong_in_the_stated_shares(self) -> None:
        attributes: list[str] = []
        shapes, relations, seconds, words = [], [], [], []
        for meant, caption, _ in captioned(0.0, 2500):
            told = parse_request(caption)
            if len(meant.things) == 2:
                seconds.append(len(told.things) == 1)
            if meant.relation and told.relation:
                relations.append(meant.relation != told.relation)
            for real, said in zip(meant.things, told.things, strict=False):
                shapes.append(real.shape != said.shape)
                for was, now in ((real.colour, said.colour), (real.size, said.size)):
                    attributes.append("missing" if now is None else "right" if was == now else "wrong")
            if meant.word:
                words.append("gone" if told.word is None else "right" if told.word == meant.word else "misspelt")
        share = len(attributes)
        # A wrong caption that happens to be reserved is drawn again, which makes the shares a little smaller.
        assert attributes.count("wrong") / share == pytest.approx(WEB.wrong, abs=0.02)
        assert attributes.count("missing") / share == pytest.approx(WEB.missing, abs=0.02)
        assert np.mean(shapes) == pytest.approx(WEB.wrong_shape, abs=0.015)
        assert np.mean(relations) == pytest.approx(WEB.wrong, abs=0.03)
        assert np.mean(seconds) == pytest.approx(WEB.second_unmentioned, abs=0.025)
        assert words.count("gone") / len(words) == pytest.approx(WEB.word_unmentioned, abs=0.04)
        assert words.count("misspelt") / (len(words) - words.count("gone")) == pytest.approx(
            WEB.word_misspelt, abs=0.04
        )

    def test_detailed_ones_are_true_and_over_clean_pictures(self) -> None:
        for meant, caption, picture in captioned(1.0, 60):
            assert caption.startswith("exactly one ")
            assert parse_request(caption) == meant
            seen = oracle_critique(short_request(meant), picture)
            assert all(score in (None, 4.0) for score in seen.scores.values()), (caption, seen.scores)

    def test_half_are_detailed_and_some_short_ones_are_over_flawed_pictures(self) -> None:
        captions = [caption for _, caption, _ in captioned(WEB.detailed, 400)]
        assert np.mean([c.startswith("exactly one") for c in captions]) == pytest.approx(0.5, abs=0.08)
        quality = [
            oracle_critique(short_request(meant), picture).scores["physical_quality"]
            for meant, _, picture in captioned(0.0, 2500)[:160]
        ]
        assert np.mean([score != 4.0 for score in quality]) == pytest.approx(WEB.flawed_picture, abs=0.1)


class TestHeldOut:
    def test_no_training_caption_asks_for_or_shows_a_reserved_request(self) -> None:
        for seed in range(600):
            captioned = sample_captioned(np.random.default_rng(seed))
            assert not is_reserved(parse_request(captioned.caption))
            assert not is_reserved(sample_wish(np.random.default_rng(seed))), "what the picture was made of"

    def test_no_training_critique_is_of_a_reserved_request(self) -> None:
        maker = BatchMaker(None, SimpleNamespace(convert_tokens_to_ids=len), {}, 8)  # type: ignore[arg-type]
        examples = maker.sample(np.random.default_rng(3), 800, edits=0.3)
        requests = [parse_request(e.request) for e in examples if e.source is None]
        assert 450 < len(requests) < 650
        assert not any(is_reserved(request) for request in requests)
        held = [parse_request(sample_generation(np.random.default_rng(s), reserved=True).request) for s in range(100)]
        assert all(is_reserved(request) for request in held if len(request.things) == 2)
        assert sum(is_reserved(request) for request in held) >= 5, "the same check finds them where they are"

    def test_edits_start_from_pictures_that_are_not_reserved(self) -> None:
        for seed in range(300):
            source = sample_wish(np.random.default_rng(seed))  # what `sample_edited` draws first
            assert not is_reserved(source)
            assert sample_edited(np.random.default_rng(seed)).source is not None

    def test_the_generator_is_never_asked_for_a_reserved_picture(self, tmp_path: Path) -> None:
        asked: list[str] = []

        class Drawing:
            def generate_many(self, requests: list[str], seeds: list[int]) -> list[Image.Image]:
                asked.extend(requests)
                rng = np.random.default_rng(seeds[0])
                wishes = [sample_wish(rng) for _ in requests]
                return [Image.fromarray(render(rng, PictureContent(w), place(rng, w)).picture) for w in wishes]

        config = DrawnConfig(pool=120, batch=60, other=0.9)
        examples = drawn_examples(config, Drawing(), tmp_path)  # type: ignore[arg-type]
        assert len(asked) == len(examples) == 120
        assert not any(is_reserved(parse_request(request)) for request in asked)
        assert not any(is_reserved(parse_request(example.request)) for example in examples)
        assert not any(example.masks_known for example in examples)
        again = drawn_examples(config, Drawing(), tmp_path)  # type: ignore[arg-type]
        assert len(asked) == 120, "drawn once, then kept"
        assert [e.critique for e in again] == [e.critique for e in examples]
