"""Why a loop ended: every reason brings its own sentence, and the figures in it are true."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.loop import refine_loop as loops
from rationalrewards_core.loop.endings import ending, shortfall, titles_of
from rationalrewards_core.loop.policy import RefinePolicy
from rationalrewards_core.loop.refine import RefineState, StopReason, next_move
from rationalrewards_core.loop.refine_loop import RefineLoop
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.report import ReportRow, write_report
from rationalrewards_core.rubric_file import generation_rubric
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings

Reply = Callable[..., str]
TITLES = titles_of(generation_rubric())


def ended(*script: str, **rules: object) -> loops.LoopEnd:
    scorer = Scorer(ScriptedBackend(list(script)), settings=ScorerSettings(guided=False, ask_again=0))
    policy = RefinePolicy(max_iterations=len(script), **rules)  # type: ignore[arg-type]
    work = RefineLoop(scorer, lambda request, seed: Image.new("RGB", (8, 8), (seed % 256, 9, 9)), policy)
    return asyncio.run(work.run(UserRequest("a cat")))


@pytest.fixture
def eclipse() -> StopReason:
    """A reason that the code does not have yet."""
    reason = str.__new__(StopReason, "eclipse")
    reason._name_, reason._value_, reason.sentence = "ECLIPSE", "eclipse", "The sun went out."
    return reason


def test_every_reason_is_a_sentence_and_keeps_its_value() -> None:
    assert [reason.value for reason in StopReason] == [
        "reached",
        "patience",
        "budget",
        "nothing_new",
        "stopped",
        "out_of_scope",
    ]
    assert StopReason("budget") is StopReason.BUDGET
    for reason in StopReason:
        assert reason.sentence[0].isupper()
        assert reason.sentence.endswith(".")


def test_a_new_reason_ends_a_loop_and_its_report_without_any_table(
    eclipse: StopReason, reply_text: Reply, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "next_move", lambda state: eclipse if state.steps else next_move(state))
    end = ended(reply_text(2.0), reply_text(2.0))
    assert end.best is not None
    assert end.reason is eclipse
    write_report(tmp_path / "r.html", [ReportRow(end.state, end.reason, generation_rubric())], title="t", lead="l")
    assert "The sun went out." in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_a_dimension_below_its_minimum_is_named_though_the_reward_is_high(reply_text: Reply) -> None:
    end = ended(reply_text(2.7, 4.0), threshold=0.7)
    assert end.reason is StopReason.BUDGET
    assert ending(end.state, end.reason, TITLES) == (
        "All images of the budget are used. The best image falls short: Text Faithfulness 2.7 is below 3.0."
    )


def test_a_reward_below_the_threshold_is_named(reply_text: Reply) -> None:
    end = ended(reply_text(3.4, 4.0), threshold=0.95)
    assert shortfall(end.state, TITLES) == "The best image falls short: reward 0.90 is below 0.95."


def test_figures_are_as_long_as_it_takes_to_see_the_difference(reply_text: Reply) -> None:
    end = ended(reply_text(3.4, 4.0), threshold=0.904)
    assert shortfall(end.state, {}) == "The best image falls short: reward 0.900 is below 0.904."


def test_nothing_is_said_of_an_image_that_is_good_enough_or_not_there(reply_text: Reply) -> None:
    end = ended(reply_text(4.0, 4.0))
    assert ending(end.state, end.reason, TITLES) == "The threshold is reached."
    assert shortfall(RefineState(request=UserRequest("a"), base_seed=0, policy=RefinePolicy()), TITLES) == ""
    nothing = ended("nonsense")
    assert ending(nothing.state, nothing.reason, TITLES) == (
        "All images of the budget are used. No image could be scored."
    )
