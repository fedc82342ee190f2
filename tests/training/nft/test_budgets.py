"""Policies on several budgets: one long loop holds the short ones, and figures by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("diffusers")

from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.loop.policy import RefinePolicy
from rationalrewards_core.loop.refine_loop import RefineLoop
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.scorer import Scorer
from training.lab.budgets import policies
from training.lab.budgets.__main__ import main
from training.lab.budgets.policies import Prices, RememberedPictures, Trail, trails
from training.lab.budgets.report import after, figures, patient_images, rival_images, save_budget_curves

MOST = 16
PRICES = Prices(image=0.06, critique=0.06, score=0.03)


class Painter:
    """Draws a picture that says which words and seed it was drawn from."""

    def __init__(self) -> None:
        self.drawn: list[tuple[str, int]] = []

    def generate_many(self, requests: list[str], seeds: list[int]) -> list[Image.Image]:
        self.drawn += list(zip(requests, seeds, strict=True))
        return [Image.new("RGB", (48, 48), (seed % 251, len(text) % 251, 7)) for text, seed in zip(requests, seeds, strict=True)]  # fmt: skip


def scorer(reply_text: Callable[..., str]) -> Scorer:
    """Scores by the picture's first pixel; its rewriting grows by a word."""

    def said(messages: object, _: object) -> str:
        red = messages[-1].images[-1].getpixel((0, 0))[0]  # type: ignore[index]
        return reply_text(1.0 + red % 7 / 4, 2.0, refined=f"a large red circle on blue {red % 5}")

    return Scorer(ScriptedBackend(said))


def test_one_long_loop_holds_the_short_ones(reply_text: Callable[..., str]) -> None:
    """What the comparison rests on: after n images a loop of 16 has done what a loop of n does."""

    def run(budget: int, first: int) -> list[tuple[str, int, float | None]]:
        policy = RefinePolicy(threshold=0.95, max_iterations=budget, patience=MOST, first=first)
        draw = RememberedPictures(Painter())  # type: ignore[arg-type]
        loop = RefineLoop(scorer(reply_text), draw, policy)
        steps = asyncio.run(loop.run(UserRequest("a large red circle"), 3)).state.steps
        return [(step.request, step.seed, step.reward) for step in steps]

    for first in (1, 2, 4):
        whole = run(MOST, first)
        assert len(whole) == MOST
        for budget in (4, 8):
            assert run(budget, first) == whole[:budget]


def test_pictures_are_drawn_and_judged_once(
    tmp_path: Path, reply_text: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over all policies; and what is on the disk is not measured again."""
    monkeypatch.setattr(policies, "oracle_reward", lambda text, picture: picture.getpixel((0, 0))[0] / 255)
    painter, judge = Painter(), scorer(reply_text)
    requests = ["a large red circle", "a small blue square"]
    found = trails(tmp_path, requests, 100, MOST, judge, painter)  # type: ignore[arg-type]
    assert len(painter.drawn) == len(set(painter.drawn))
    assert set(found[0]) == {"best_of_n", "first_1", "first_2", "first_4", "first_8"}
    assert len(found[0]["best_of_n"].truth) == MOST + 8
    assert found[1]["first_8"].truth[:8] == found[1]["best_of_n"].truth[:8], "a mixture begins as best-of-N does"
    before = len(painter.drawn)
    assert trails(tmp_path, requests, 100, MOST, judge, painter) == found  # type: ignore[arg-type]
    assert len(painter.drawn) == before
    small = trails(tmp_path / "small", requests, 100, 2, judge, painter)  # type: ignore[arg-type]
    assert set(small[0]) == {"best_of_n", "first_1"}
    assert small[0]["first_1"].truth == found[0]["first_1"].truth[:2]
    assert small[0]["best_of_n"].truth == found[0]["best_of_n"].truth[:3]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"development": 12}, "8 at a time"),
        ({"development": 0}, "for some"),
        ({"images": 3}, "one of 2, 4, 8, 16, not 3"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_sentence(
    options: dict[str, int], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    monkeypatch.setattr("sys.argv", ["budgets", "--out", str(tmp_path / "out"), *flags])
    with pytest.raises(SystemExit, match=sentence):
        main()
    assert not (tmp_path / "out").exists()


def test_best_of_n_gets_the_loops_seconds() -> None:
    """A loop's image costs 0.12, one of best-of-N 0.09: three of the one are four of the other."""
    assert [rival_images(spent, PRICES) for spent in (1, 2, 3, 16)] == [2, 3, 4, 22]
    assert rival_images(5, replace(PRICES, score=0.06)) == 5


def test_patience_by_hand() -> None:
    """As `next_move` counts it: candidates since the best one."""
    trail = Trail([0.5, 0.4, None, 0.6, 0.1, 0.2, 0.3, 0.7], [0.0] * 8)
    assert [patient_images(trail, n) for n in (1, 2, 3, 4)] == [2, 3, 7, 8]
    assert patient_images(Trail([None, None, 0.1], [0.0] * 3), 1) == 3, "no picture is scored, so none is improved on"


def test_figures_by_hand(tmp_path: Path) -> None:
    """A loop that is content after two images keeps its picture, and its rival gets three images for it."""
    loop = Trail([0.2, 0.9], [0.3, 0.8])
    best = Trail([0.2, None, 0.7, 0.6, 0.95, *[0.1] * 19], [0.3, 1.0, 0.5, 0.2, 1.0, *[0.0] * 19])
    assert [after(best, n) for n in (1, 2, 3, 4, 5, 24)] == [0.3, 0.3, 0.5, 0.5, 1.0, 1.0]
    assert after(loop, 16) == 0.8
    row = {"best_of_n": best, **{f"first_{first}": loop for first in (1, 2, 4, 8)}}
    found = figures([row, row], MOST, PRICES)
    assert found["4"]["best_of_n"] == {"truth": 0.5, "fully_right": 0.0, "seconds": 0.36}
    assert found["16"]["best_of_n"]["fully_right"] == 1.0
    alone = found["4"]["first_1"]
    assert (alone["truth"], alone["images"], alone["seconds"]) == (0.8, 2.0, 0.24)
    assert alone["best_of_n_same_seconds"] == 0.5
    assert alone["over_best_of_n"] == {"gain": 0.3, "ci95": [0.3, 0.3]}
    assert set(found["2"]) == {"best_of_n", "best_of_n_stopping", "first_1"}
    stopping = found["16"]["best_of_n_stopping"]
    assert (stopping["images"], stopping["truth"]) == (5.0, 1.0), "its fifth picture makes the judge content"
    assert found["4"]["best_of_n_stopping"]["images"] == 4.0
    save_budget_curves(tmp_path / "curves.png", {"development": [row]}, MOST, PRICES)
    assert (tmp_path / "curves.png").stat().st_size > 5_000
    assert set(figures([row], 2, PRICES)) == {"requests", "2"}
