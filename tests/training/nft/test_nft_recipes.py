"""The comparison of recipes: equal work, requests that do not overlap, and figures by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import numpy as np

from rationalrewards_core.errors import ConfigError
from rationalrewards_core.miniature.world import is_reserved, parse_request
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
from training.lab.nft_recipes.table import RECIPES, RecipeOptions, milestones, run_settings, work
from training.lab.nft_recipes.use import Use, best_so_far
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
    }
    assert {name: milestones(name, options, OUT) for name in RECIPES} == {
        "plain": [5, 10, 15],
        "kl": [4, 9, 13],
        "guided": [2, 5, 8],
        "passes": [4, 8, 11],
        "distil": [4, 8, 11],
        "refined": [4, 8, 11],
    }
    assert milestones("plain", replace(options, milestones=1), OUT) == [15]


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_differ_in_what_they_name(name: str) -> None:
    config = resolved("miniature_cpu", None, run_settings(name, 1, RecipeOptions(), OUT))
    assert (config.rewards.judge, config.run.seed, config.run.evaluate_every) == ("oracle", 43, 0)
    assert config.prompts.refined == ("file:runs/recipes/refined.jsonl" if name == "refined" else "")
    assert config.drops_captions == (name not in ("plain", "kl"))


def test_nothing_is_chosen_or_trained_on_held_out_requests() -> None:
    development, held_out = set(development_requests(96)), set(held_out_requests(64))
    assert (len(development), len(held_out)) == (96, 64)
    assert not development & held_out
    assert all(is_reserved(parse_request(text)) for text in development | held_out)
    trained = [parse_request(text) for text in training_requests(96)]
    assert not any(len(content.things) == 2 and is_reserved(content) for content in trained)


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
    monkeypatch.setattr("training.lab.nft_recipes.__main__.train_run", None)
    monkeypatch.setattr("training.lab.nft_recipes.use.tuned_generator", None)
    assert compare(options, tmp_path) == summary
    with pytest.raises(ConfigError, match="comparison with other settings: epochs was 2, is 3"):
        compare(replace(options, epochs=3), tmp_path)
