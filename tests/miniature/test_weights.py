"""The shipped weights: small, readable by the stock classes, and as good as their cards say (on a smaller sample)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from rationalrewards_core.critique import Critique
from rationalrewards_core.engines import EngineOptions, make_scorer
from rationalrewards_core.judged import Case
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.miniature import WEIGHTS, generator_folder, scorer_folder
from rationalrewards_core.miniature.demo import DemoOptions, demo_requests
from rationalrewards_core.miniature.generator import MiniatureGenerator
from rationalrewards_core.miniature.oracle import oracle_critique
from rationalrewards_core.miniature.world import is_reserved, parse_request
from rationalrewards_core.reward import reward
from rationalrewards_core.rubric_file import edit_rubric, generation_rubric
from rationalrewards_core.scorer_settings import ScorerSettings
from training.lab.miniature.evaluate import case_of, figures, held_out, held_out_pairs, judge, pair_figures

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def generator() -> MiniatureGenerator:
    pytest.importorskip("diffusers")
    return MiniatureGenerator.load(generator_folder())


def test_both_together_are_under_thirty_megabytes() -> None:
    files = [file for file in WEIGHTS.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 30e6
    assert not [file for file in files if file.suffix in (".bin", ".pt", ".pth", ".pkl")], "safetensors only"


def test_the_scorer_is_a_stock_qwen3_vl() -> None:
    from transformers import AutoConfig, AutoModelForImageTextToText

    assert AutoConfig.from_pretrained(scorer_folder()).model_type == "qwen3_vl"
    model = AutoModelForImageTextToText.from_pretrained(scorer_folder())
    assert type(model).__name__ == "Qwen3VLForConditionalGeneration"
    assert 2e6 <= sum(p.numel() for p in model.parameters()) <= 4e6


def test_critiques_of_held_out_pictures_parse_and_are_right() -> None:
    """Below what `evaluation.json` says of the whole sample, with room for chance: this guards, it does not measure."""
    settings = ScorerSettings(guided=False, ask_again=0, max_tokens=300)
    scorer = make_scorer("miniature", EngineOptions(batch_size=32, device="cpu"), settings=settings)
    examples, pairs = held_out(96), held_out_pairs(32)
    found = figures(examples, judge(scorer, examples))
    ranked = pair_figures(pairs, judge(scorer, [e for pair in pairs for e in (pair.first, pair.second)]))
    asyncio.run(scorer.close())
    assert found["parse_rate"] >= 0.97
    assert found["score_error"] <= 0.35
    assert found["single_flaw_named"] >= 0.5
    assert ranked["pair_accuracy"] >= 0.7


def test_with_the_grammar_every_reply_parses_edits_included() -> None:
    scorer = make_scorer("miniature", EngineOptions(batch_size=32, device="cpu"), settings=ScorerSettings(ask_again=0))
    examples = held_out(32)
    assert any(example.source is not None for example in examples)
    batch = asyncio.run(scorer.score_many([case_of(example) for example in examples]))
    asyncio.run(scorer.close())
    assert not batch.reasons
    for example, critique in zip(examples, batch.critiques, strict=True):
        rubric = edit_rubric() if example.source is not None else generation_rubric()
        assert [j.key for j in critique.judgements] == [d.key for d in rubric.dimensions]


def test_the_generator_draws_what_is_asked_better_than_what_is_not(generator: MiniatureGenerator) -> None:
    """Truth by the oracle: pictures fit their own request better than another picture's request."""
    requests = ["a large red circle", "a small blue triangle", "a large green square", "a small yellow circle"] * 4
    pictures = generator.generate_many(requests, range(len(requests)))
    assert {picture.size for picture in pictures} == {(48, 48)}

    def fit(shift: int) -> float:
        asked = [requests[(i + shift) % len(requests)] for i in range(len(requests))]
        return float(
            np.mean([reward(oracle_critique(r, p), generation_rubric()) for r, p in zip(asked, pictures, strict=True)])
        )

    assert fit(0) > fit(1) + 0.2


def test_the_same_request_and_seed_give_the_same_picture(generator: MiniatureGenerator) -> None:
    first, again, other = (generator.generate("a large red circle", seed) for seed in (1, 1, 2))
    assert np.array_equal(np.asarray(first), np.asarray(again))
    assert not np.array_equal(np.asarray(first), np.asarray(other))


def test_the_demo_asks_only_for_what_was_held_out() -> None:
    requests = demo_requests(DemoOptions(prompts=20))
    assert len(set(requests)) == 20
    assert all(is_reserved(parse_request(request)) for request in requests)


def test_a_single_item_is_judged_by_the_one_line_api(generator: MiniatureGenerator, tmp_path: Path) -> None:
    scorer = make_scorer("miniature", EngineOptions(device="cpu"))
    request = UserRequest("a large red circle")
    batch = asyncio.run(scorer.score_many([Case(request, generator.generate(request.text, 3))]))
    asyncio.run(scorer.close())
    (critique,) = batch.outcomes
    assert isinstance(critique, Critique)
    assert 0.0 <= scorer.reward(critique, request) <= 1.0
