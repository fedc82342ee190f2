"""Three loops around a tuned generator: who draws which words, what is kept, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rationalrewards_core.errors import ConfigError
from training.lab.nft_proof.rivals import tuned_generator
from training.lab.nft_recipes import loops
from training.lab.nft_recipes.loops import LoopOptions, OwnWords, compare, figures, trained_weights


class Signed:
    """Draws its name, the request and the seed."""

    def __init__(self, name: str) -> None:
        self.name, self.batches = name, 0

    def generate_many(self, requests: list[str], seeds: list[int]) -> list[str]:
        self.batches += 1
        return [f"{self.name}:{request}:{seed}" for request, seed in zip(requests, seeds, strict=True)]


def test_own_words_are_drawn_by_the_tuned_generator_and_others_by_the_shipped_one() -> None:
    tuned, shipped = Signed("tuned"), Signed("shipped")
    both = OwnWords(tuned, shipped, ["a cat", "a dog"])  # type: ignore[arg-type]
    drawn = both.generate_many(["a cat", "a cat, red", "a dog", "a cat"], [1, 2, 3, 4])
    assert drawn == ["tuned:a cat:1", "shipped:a cat, red:2", "tuned:a dog:3", "tuned:a cat:4"]
    assert both.generate_many(["a dog"], [9]) == ["tuned:a dog:9"]
    assert (tuned.batches, shipped.batches) == (2, 1), "nothing is asked for an empty batch"


def test_a_recipe_that_was_not_trained_is_refused_with_the_command_that_trains_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no weights of passes-shift for seed 1.*--recipes passes-shift --seeds 2"):
        trained_weights(tmp_path, "passes-shift", 1)
    milestones = tmp_path / "passes-1" / "milestones"
    milestones.mkdir(parents=True)
    for epochs in (7, 11):
        (milestones / f"{epochs:06d}.safetensors").touch()
    assert trained_weights(tmp_path, "passes-shift", 1) == milestones / "000011.safetensors"


def test_figures_are_paired_with_the_shipped_loop() -> None:
    shipped = np.array([[0.2, 0.6], [0.4, 0.8]])
    tuned = [np.array([[0.4, 0.6], [0.6, 1.0]]), np.array([[0.2, 0.6], [0.4, 1.0]])]
    table = figures(shipped, {"tuned": tuned})
    assert table["requests"] == 2
    assert table["shipped"] == {"first": 0.3, "end": 0.7, "perfect": 0.0}
    assert table["tuned"]["end_of_each_seed"] == [0.8, 0.8]
    assert table["tuned"]["perfect"] == 0.5
    assert table["tuned"]["first_over_shipped"]["gain"] == 0.1
    assert table["tuned"]["end_over_shipped"]["gain"] == 0.1


@pytest.mark.slow
@pytest.mark.model
def test_the_command_keeps_what_it_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the shipped generator in the tuned one's place all three loops are one, to the last picture."""
    monkeypatch.setattr(loops, "trained_weights", lambda out, recipe, seed: Path("none.safetensors"))
    monkeypatch.setattr(loops, "generator_in_use", lambda recipe, weights: tuned_generator(None))
    options = LoopOptions(seeds=1, held_out=2, images=2)
    summary = compare(options, tmp_path)
    assert json.loads((tmp_path / "loops.json").read_text()) == summary
    for name in loops.LOOPS:
        assert summary[name]["end_over_shipped"] == {"gain": 0.0, "ci95": [0.0, 0.0]}
    monkeypatch.setattr(loops, "loop_truths", None)
    assert compare(options, tmp_path) == summary
