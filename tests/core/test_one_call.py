"""`judge`: an image and a prompt to a critique with its reward, in three lines; and the best of several."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest
from PIL import Image

from rationalrewards_core import Critique, Unscored, judge, one_call
from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.critique import render_critique
from rationalrewards_core.errors import ConfigError, RequestError
from rationalrewards_core.judged import Case, best
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.replies.parsing import parse_critique
from rationalrewards_core.rubric_file import generation_rubric
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings

GOOD = (Path(__file__).parent.parent / "replies" / "canonical_generation.md").read_text("utf-8").split("---\n", 1)[1]
PICTURE = Image.new("RGB", (16, 16), "navy")


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """`make_scorer` makes judges that answer from a script; the names they were made by."""
    made: list[str] = []

    def make(engine: str, options: object, *, rubric: object = None) -> Scorer:
        made.append(engine)
        return Scorer(ScriptedBackend([GOOD] * 3))

    monkeypatch.setattr(one_call, "make_scorer", make)
    monkeypatch.setattr(one_call, "_scorers", {})
    return made


def test_a_critique_comes_with_its_reward(scripted: list[str], tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "fox.png")
    judged = judge(tmp_path / "fox.png", "a fox in the snow")
    assert isinstance(judged.outcome, Critique)
    critique = parse_critique(GOOD, generation_rubric())
    assert judged.reward == pytest.approx((2.5 / 3 + 2 / 3) / 2)
    assert render_critique(judged.outcome, generation_rubric()) == render_critique(critique, generation_rubric())
    assert judged.case.request == UserRequest("a fox in the snow")


def test_the_judge_is_kept_until_another_is_asked(scripted: list[str]) -> None:
    for prompt in ("one", "two"):
        judge(PICTURE, prompt)
    assert scripted == ["miniature"]
    judge(PICTURE, "three", engine="local:/elsewhere")
    assert scripted == ["miniature", "local:/elsewhere"]
    assert len(one_call._scorers) == 1


def test_it_works_where_an_event_loop_runs(scripted: list[str]) -> None:
    """As in a notebook."""

    async def cell() -> float | None:
        return judge(PICTURE, "a fox").reward

    assert asyncio.run(cell()) is not None


@pytest.mark.model
def test_what_cannot_be_judged_has_no_reward() -> None:
    judged = judge(PICTURE, "a photograph of my grandmother")
    assert judged.reward is None
    assert isinstance(judged.outcome, Unscored)
    assert judged.outcome.reason == "out_of_scope"


def test_what_is_no_image_and_no_engine_is_said(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="does not exist"):
        judge(tmp_path / "none.png", "a fox")
    with pytest.raises(ConfigError, match="Unknown engine"):
        judge(PICTURE, "a fox", engine="oracle")


def test_every_outcome_knows_its_case_and_reward() -> None:
    scorer = Scorer(ScriptedBackend([GOOD, "no critique"]), settings=ScorerSettings(ask_again=0))
    cases = [Case(UserRequest(text), PICTURE) for text in ("a fox", "a hare")]
    judged = asyncio.run(scorer.judge_many(cases))
    assert [one.case for one in judged] == cases
    assert {one.reward is None for one in judged} == {True, False}
    for one in judged:
        assert (one.reward is None) == isinstance(one.outcome, Unscored)


@pytest.mark.parametrize(
    ("rewards", "index"),
    [([], None), ([None, None], None), ([None, 0.0], 1), ([0.2, 0.7, 0.7], 1), ([math.nan, 0.1, None], 1)],
)
def test_the_best_is_the_first_of_the_highest(rewards: list[float | None], index: int | None) -> None:
    assert best(rewards) == index
