"""The comparison of recipes: equal work, requests that do not overlap, and figures by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import numpy as np
import torch
from safetensors.torch import save_file

from rationalrewards_core.errors import ConfigError
from rationalrewards_core.miniature.generator import MiniatureGenerator
from rationalrewards_core.miniature.world import is_reserved, parse_request
from training.lab.nft_proof.rivals import tuned_generator
from training.lab.nft_recipes.__main__ import compare
from training.lab.nft_recipes.report import (
    chosen,
    development_figures,
    gain,
    held_out_figures,
    interval,
    save_recipe_curves,
)
from training.lab.nft_recipes.requests import development_requests, held_out_requests, training_requests
from training.lab.nft_recipes.shift import add_shift, generator_in_use
from training.lab.nft_recipes.table import RECIPES, RecipeOptions, milestones, run_settings, work
from training.lab.nft_recipes.use import Use, best_so_far, held_out_use
from training.nft.__main__ import resolved

OUT = Path("runs/recipes")


def test_recipes_may_spend_the_same_work() -> None:
    """Passes of an epoch, a backward one counted as three: plain 1728; the others by their settings."""
    options = RecipeOptions(epochs=15)
    assert {name: work(run_settings(name, 0, options, OUT)) for name in RECIPES} == {
        "plain": 864 + 3 * 288,
        "kl": 864 + 288 + 3 * 288,
        "guided": 1728 + 3 * 576,
        "passes": 1440 + 3 * 288,
        "distil": 864 + 576 + 3 * 288,
        "refined": 1440 + 3 * 288,
        "plain-shift": 864 + 3 * 288,
        "passes-shift": 1440 + 3 * 288,
    }
    assert {name: milestones(name, options, OUT) for name in RECIPES} == {
        "plain": [5, 10, 15],
        "kl": [4, 9, 13],
        "guided": [2, 5, 8],
        "passes": [4, 8, 11],
        "distil": [4, 8, 11],
        "refined": [4, 8, 11],
        "plain-shift": [5, 10, 15],
        "passes-shift": [4, 8, 11],
    }
    assert milestones("plain", replace(options, milestones=1), OUT) == [15]


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_differ_in_what_they_name(name: str) -> None:
    config = resolved("miniature_cpu", None, run_settings(name, 1, RecipeOptions(), OUT))
    assert (config.rewards.judge, config.run.seed, config.run.evaluate_every) == ("oracle", 43, 0)
    assert config.prompts.refined == ("file:runs/recipes/refined.jsonl" if name == "refined" else "")
    assert config.drops_captions == (name not in ("plain", "plain-shift", "kl"))


def test_nothing_is_chosen_or_trained_on_held_out_requests() -> None:
    development, held_out = set(development_requests(96)), set(held_out_requests(64))
    assert (len(development), len(held_out)) == (96, 64)
    assert not development & held_out
    assert all(is_reserved(parse_request(text)) for text in development | held_out)
    trained = [parse_request(text) for text in training_requests(96)]
    assert not any(len(content.things) == 2 and is_reserved(content) for content in trained)


def test_what_training_changed_is_added_to_the_shipped_guided_velocity() -> None:
    """v_none + g (v_caption - v_none) + w d, with a transformer whose adapter adds 1 to the velocity."""

    class Transformer:
        tuned = True

        def enable_adapters(self) -> None:
            self.tuned = True

        def disable_adapters(self) -> None:
            self.tuned = False

        def forward(self, hidden_states: torch.Tensor, *, scale: float) -> tuple[torch.Tensor]:
            return (hidden_states * scale + (1.0 if self.tuned else 0.0),)

    rows = torch.tensor([[2.0], [3.0], [5.0], [7.0]])  # two without caption, two with it
    for share in (0.5, 1.0):
        transformer = Transformer()
        add_shift(transformer, share)
        none, caption = transformer.forward(hidden_states=rows, scale=2.0)[0].chunk(2)  # type: ignore[call-arg]
        assert torch.equal(none, torch.tensor([[4.0], [6.0]]))
        guided = none + 3.0 * (caption - none)
        assert torch.allclose(guided, torch.tensor([[4.0 + 3 * 6.0], [6.0 + 3 * 8.0]]) + 3.0 * share)


@pytest.mark.slow
@pytest.mark.model
def test_a_tuned_generator_guided_by_the_shipped_one(tmp_path: Path) -> None:
    """Without any change it draws the shipped pictures; with weight g and the real adapter, others."""
    lora = tmp_path / "lora.safetensors"
    layer = "transformer.transformer_blocks.0.attn.to_q"
    width = tuned_generator(None)._pipeline.transformer.transformer_blocks[0].attn.to_q.in_features
    torch.manual_seed(0)
    down, up = torch.randn(2, width), torch.randn(width, 2)
    texts, seeds = ["a large red circle", "a small blue square"], [1, 2]

    def pixels(load: Callable[[], MiniatureGenerator]) -> np.ndarray:
        return np.stack([np.asarray(picture) for picture in load().generate_many(texts, seeds)])

    shipped = pixels(partial(tuned_generator, None))
    for scale, same in ((0.0, True), (0.2, False)):
        save_file({f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up * scale}, lora)
        for name in ("plain-shift", "plain"):
            assert np.array_equal(pixels(partial(generator_in_use, RECIPES[name], lora)), shipped) is same


def test_the_interval_resamples_requests_and_seeds() -> None:
    assert interval(np.full((3, 5), 0.25)) == [0.25, 0.25]
    assert interval(np.array([[0.0, 1.0]])) == [0.0, 1.0]
    seeds_differ = interval(np.array([[0.0] * 50, [1.0] * 50]))
    assert seeds_differ == [0.0, 1.0], "two seeds say little, however many requests they were asked"


def test_gains_are_paired_with_the_same_seed_or_with_the_one_generator() -> None:
    tuned = [np.array([0.5, 0.7]), np.array([0.7, 0.9])]
    assert gain(tuned, [np.array([0.4, 0.6])])["gain"] == pytest.approx(0.2)
    assert gain(tuned, [row - 0.1 for row in tuned]) == {"gain": 0.1, "ci95": [0.1, 0.1]}


def test_the_best_so_far_is_the_judges_choice_and_the_oracles_truth() -> None:
    assert best_so_far([0.5, 0.4, 0.9], [0.3, 1.0, 0.2], 4) == [0.3, 0.3, 0.2, 0.2]
    assert best_so_far([None, 0.0, None], [0.3, 0.6, 0.9], 3) == [0.3, 0.6, 0.6]


def test_figures_and_choice(tmp_path: Path) -> None:
    shipped = {1.0: np.array([0.2, 0.4]), 3.0: np.array([0.5, 0.7])}
    truth = {
        "plain": [[np.array([0.5, 0.7]), np.array([0.6, 0.8])], [np.array([0.5, 0.5]), np.array([0.8, 1.0])]],
        "distil": [[np.array([0.5, 0.7]), np.array([0.9, 1.0])]],
    }
    found = development_figures(shipped, truth, {"plain": [5, 10], "distil": [4, 8]})
    assert found["shipped"] == {"guidance 1": 0.3, "guidance 3": 0.6}
    assert found["plain"]["truth"] == [0.55, 0.8]
    assert found["plain"]["over_shipped"]["gain"] == pytest.approx(0.2)
    assert (found["distil"]["guidance_in_use"], found["distil"]["perfect"]) == (1.0, 0.5)
    assert chosen(found, ("plain", "distil")) == "distil"
    save_recipe_curves(tmp_path / "curves.png", shipped, truth, {"plain": [[0.5, 0.6], [0.6, 0.7]]})
    assert (tmp_path / "curves.png").stat().st_size > 5_000


def test_held_out_figures_by_hand() -> None:
    shipped = Use(np.array([[0.2, 0.4], [0.4, 0.4]]), np.array([[0.2, 0.6], [0.4, 0.8]]))
    tuned = Use(np.array([[0.4, 0.4], [0.6, 0.6]]), np.array([[0.4, 0.6], [0.6, 1.0]]))
    found = held_out_figures(shipped, {"guided": [tuned]})
    assert found["shipped"] == {"one_image": 0.3, "best_of_n_2": 0.4, "refine_loop_2": 0.7}
    assert found["guided"]["over_shipped"]["one_image"] == {"gain": 0.2, "ci95": [0.2, 0.2]}
    assert found["guided"]["over_shipped"]["best_of_n_2"]["gain"] == pytest.approx(0.1)
    assert found["guided"]["over_shipped"]["refine_loop_2"]["gain"] == pytest.approx(0.1)


def test_held_out_requests_are_measured_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in its second part it keeps the first; asked for more requests it measures the new ones only."""
    measured: list[range] = []

    def part_of_use(models: object, requests: list[str], part: range, images: int) -> dict[str, object]:
        if part.start == 2 and not measured[1:]:
            measured.append(part)
            raise KeyboardInterrupt
        measured.append(part)
        return {"best_of_n": [[i] * images for i in part], "refine_loop": [[-i] * images for i in part]}

    monkeypatch.setattr("training.lab.nft_recipes.use.PART", 2)
    monkeypatch.setattr("training.lab.nft_recipes.use._part_of_use", part_of_use)
    ask = partial(held_out_use, tmp_path, partial(tuned_generator, None))
    with pytest.raises(KeyboardInterrupt):
        ask(4, 3)
    assert ask(4, 3).best_of_n.tolist() == [[i] * 3 for i in range(4)]
    assert ask(5, 3).refine_loop.tolist() == [[-i] * 3 for i in range(5)]
    assert measured == [range(2), range(2, 4), range(2, 4), range(4, 5)]


@pytest.mark.slow
def test_the_command_measures_once_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smallest = ("rollout.prompts=2", "rollout.group=2", "rollout.steps=2", "times.count=1", "policy.rank=2")
    options = RecipeOptions(
        recipes=("passes",),
        seeds=1,
        epochs=2,
        milestones=1,
        development=2,
        held_out=2,
        images=2,
        settings=smallest,
    )
    summary = compare(options, tmp_path)
    assert summary["development"]["passes"]["epochs"] == milestones("passes", options, tmp_path)
    assert summary["chosen"] == "passes"
    assert {"shipped", "passes"} <= summary["held_out"].keys()
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert (tmp_path / "grid.png").is_file()
    monkeypatch.setattr("training.lab.nft_recipes.use.PART", 1)
    apart = held_out_use(tmp_path / "apart", partial(tuned_generator, None), 2, 2)
    monkeypatch.undo()
    together = held_out_use(tmp_path / "held_out" / "2-images" / "shipped", partial(tuned_generator, None), 2, 2)
    assert np.allclose(apart.best_of_n, together.best_of_n), "the seeds of a request do not depend on its part"
    assert np.allclose(apart.refine_loop, together.refine_loop)
    alone = held_out_use(tmp_path / "alone", partial(tuned_generator, None), 2, 1)
    assert np.allclose(alone.best_of_n, together.best_of_n[:, :1]), "one image is the first of several"
    monkeypatch.setattr("training.lab.nft_recipes.__main__.train_run", None)
    monkeypatch.setattr("training.lab.nft_recipes.use.drawn", None)
    assert compare(options, tmp_path) == summary
    with pytest.raises(ConfigError, match="comparison with other settings: epochs was 2, is 3"):
        compare(replace(options, epochs=3), tmp_path)
