"""Judging in the background: order, overlap, masks, every kind of judge behind one interface."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import torch
from PIL import Image

from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.critique import Critique, Unscored
from rationalrewards_core.errors import BackendError, ConfigError
from rationalrewards_core.judged import Case, FailureRateError, ScoreBatch
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.miniature.oracle import oracle_critique
from rationalrewards_core.replies.parsing import Mode
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings
from training.nft.config import PolicyConfig, RewardsConfig
from training.nft.metrics import diversity, optimality_histogram
from training.nft.policy import Average, FullPolicy
from training.nft.rewards import RewardQueue, check_failures, collected, failures, group_rewards, make_judge
from training.rewards.oracle import OracleJudge
from training.rewards.picture_head import ScalarHead, fit, ordered_right, scalar_judge, stacked, train_scalar
from training.rewards.rendered_preferences import Preference
from training.rewards.scalar_judge import USUAL, ScalarRewardJudge
from training.rewards.scalars import SCALARS

REQUEST = UserRequest("a large red circle")


def case(colour: int = 0) -> Case:
    return Case(REQUEST, Image.new("RGB", (48, 48), (colour, 0, 0)))


def test_outcomes_of_the_core_scorer_become_tables(reply_text: Callable[..., str]) -> None:
    lines = [
        reply_text(faithfulness=4.0, quality=4.0),
        BackendError("The server is away.", reason="timeout"),
        reply_text(faithfulness=1.0, quality=2.5, text=4.0),
        "no critique at all",
    ]
    scorer = Scorer(ScriptedBackend(lines, concurrency=1), settings=ScorerSettings(ask_again=0))
    queue = RewardQueue(scorer, "score")  # type: ignore[arg-type]
    try:
        # One after the other: the backend answers in the order in which it is asked.
        outcomes = [*collected([queue.submit([case(1), case(2)])]), *collected([queue.submit([case(3), case(4)])])]
    finally:
        queue.close()
    table = group_rewards(outcomes, [REQUEST, REQUEST], 2, scorer)  # type: ignore[arg-type]
    assert table.scored_P_G.tolist() == [[True, False], [True, False]]
    assert table.rewards_P_G[0, 0] == 1.0
    assert table.rewards_P_G[1, 0].item() == pytest.approx((0.0 + 0.5 + 1.0) / 3)
    assert table.applicable_P_G_D[0, 0].tolist() == [True, True, False]
    assert table.applicable_P_G_D[1, 0].tolist() == [True, True, True]
    assert not table.applicable_P_G_D[:, 1].any()
    reasons = failures(outcomes)
    assert reasons["timeout"] == 1
    assert reasons.total() == 2


def test_the_caller_goes_on_while_the_judge_works() -> None:
    released = threading.Event()

    class Slow(OracleJudge):
        async def score_many(self, cases: Sequence[Case], mode: Mode = "critique") -> ScoreBatch:
            while not released.is_set():
                await __import__("asyncio").sleep(0.01)
            return await super().score_many(cases, mode)

    queue = RewardQueue(Slow(), "score")
    try:
        pending = [queue.submit([case()]) for _ in range(3)]  # returns at once, all three are under way
        assert not any(future.done() for future in pending)
        released.set()
        assert all(isinstance(outcome, Critique) for outcome in collected(pending))
    finally:
        queue.close()


def test_the_rate_is_of_all_rollouts() -> None:
    judge, lost = OracleJudge(), Unscored(reason="timeout", message="The judge did not answer.")
    good = oracle_critique(REQUEST.text, case().candidate)
    for outcomes, stops in (([good, good, good, good, lost], False), ([good, lost, good, good, lost], True)):
        table = group_rewards(outcomes, [REQUEST], 5, judge)
        if stops:
            with pytest.raises(FailureRateError, match=r"2 of 5 rollouts are unscored \(timeout 2x\)"):
                check_failures(table, failures(outcomes), 0.2)
        else:
            check_failures(table, failures(outcomes), 0.2)


@pytest.mark.parametrize("name", ["oracel", "scalar:/nowhere", "head:/nowhere", "scalar", "server"])
def test_a_judge_that_is_not_there_is_said(name: str) -> None:
    with pytest.raises(ConfigError):
        make_judge(name, RewardsConfig())


def test_a_scalar_head_learns_an_order_and_has_one_dimension(tmp_path: Path) -> None:
    figures = train_scalar(tmp_path, pairs=48, drawn_requests=2, epochs=1)
    assert figures["pairs"] > 48  # and those among the drawn pictures
    assert {"held_out_rendered", "held_out_drawn"} < set(figures)
    judge = scalar_judge(tmp_path)
    queue = RewardQueue(judge, "score")
    try:
        outcomes = collected([queue.submit([case(0), case(255)])])
    finally:
        queue.close()
    table = group_rewards(outcomes, [REQUEST], 2, judge)
    assert table.dimensions_P_G_D.shape == (1, 2, 1)
    assert table.scored_P_G.all()
    assert table.rewards_P_G[0, 0] != table.rewards_P_G[0, 1]


def test_a_reward_without_bounds_is_squashed_and_a_missing_one_is_unscored() -> None:
    values = {"good": 23.0, "usual": 21.0, "lost": float("nan")}
    judge = ScalarRewardJudge(lambda cases: [values[c.request.text] for c in cases], centre=21.0, width=1.0, batch=2)
    cases = [Case(UserRequest(name), Image.new("RGB", (8, 8))) for name in values]
    good, usual, lost = asyncio.run(judge.score_many(cases)).outcomes
    assert isinstance(good, Critique)
    assert isinstance(usual, Critique)
    assert judge.reward(usual, REQUEST) == pytest.approx(0.5)
    assert judge.reward(good, REQUEST) == pytest.approx(1 / (1 + math.exp(-2.0)))
    assert lost == Unscored(reason="not_a_number", message="The scalar reward is not a number.")


def test_every_published_reward_has_its_usual_place() -> None:
    assert set(USUAL) == set(SCALARS)


def test_a_scalar_head_orders_what_it_was_taught() -> None:
    torch.manual_seed(0)
    dark, light = (Image.new("RGB", (48, 48), (shade, shade, shade)) for shade in (40, 200))
    taught = [Preference("a red circle", pair, gap) for pair, gap in (((light, dark), 0.5), ((dark, light), -0.5))]
    model = ScalarHead()
    fit(model, stacked(taught * 8), epochs=8, batch=8)
    assert ordered_right(model, taught) == 1.0
    assert ordered_right(model, [Preference("a red circle", (dark, light), 0.5)]) == 0.0


def test_the_average_comes_and_goes_bit_for_bit() -> None:
    layer = torch.nn.Linear(3, 2)
    parameters = list(layer.parameters())
    average = Average(parameters, cap=0.9)
    before = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for p in parameters:
            p.add_(1.0)
    average.update(parameters)
    moved = [p.detach().clone() for p in parameters]
    with average.applied(parameters):
        for p, start in zip(parameters, before, strict=True):
            torch.testing.assert_close(p, start + 0.9)  # the first decay is 1 / 10
    assert all(torch.equal(p, kept) for p, kept in zip(parameters, moved, strict=True))


def test_full_tuning_keeps_its_reference() -> None:
    policy = FullPolicy(torch.nn.Linear(3, 2))
    x = torch.ones(1, 3)
    with torch.no_grad():
        for p in policy.parameters:
            p.add_(1.0)
    policy.follow(0.5)
    with policy.reference() as model:
        reference = model(x)
    with policy.old() as model:
        old = model(x)
    with policy.current() as model:
        torch.testing.assert_close(old, 0.5 * (reference + model(x)))
    assert PolicyConfig().old_decay == "ramp_to_half"


def test_figures() -> None:
    grey = [Image.new("RGB", (48, 48), (v, v, v)) for v in (0, 255, 51, 51)]
    assert diversity(grey, 2) == pytest.approx(0.5)
    assert diversity(grey, 1) is None
    found = optimality_histogram(torch.tensor([0.05, 0.5, 0.55, 1.0]))
    assert (found["r_0.0"], found["r_0.5"], found["r_0.9"]) == (0.25, 0.5, 0.25)
