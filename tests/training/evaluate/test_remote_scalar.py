"""A scalar reward in an environment of its own, asked over real HTTP: the way for rewards that cannot live in this one."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import pytest

pytest.importorskip("torch")

from PIL import Image

from rationalrewards_core.comparison import Verdict
from rationalrewards_core.errors import BackendError, ConfigError
from rationalrewards_core.judged import Case
from rationalrewards_core.messages import UserRequest
from tests.training.app_thread import serving
from training.nft.bridges import flow_factory_app
from training.nft.config import RewardsConfig
from training.nft.rewards import make_judge
from training.rewards.judges import AskedPair
from training.rewards.scalar_judge import ScalarRewardJudge
from training.rewards.scalars import ScalarJudge, load_scalar

BRIGHT, DARK = (Image.new("RGB", (16, 16), (level,) * 3) for level in (200, 40))
REQUEST = UserRequest("a grey square")


def brightness(cases: Sequence[Case]) -> list[float]:
    """A reward that prefers the brighter picture, and cannot judge a black one."""
    levels = [float(case.candidate.convert("L").getpixel((0, 0))) for case in cases]  # type: ignore[arg-type]
    return [level / 128.0 - 1.0 if level else math.nan for level in levels]


def test_pairs_are_ordered_by_the_other_environments_reward() -> None:
    with serving(flow_factory_app(ScalarRewardJudge(brightness))) as address:
        judge = ScalarJudge(load_scalar(f"scalar:{address}", "cpu"), "remote")
        opinion = asyncio.run(judge.judge(AskedPair(REQUEST, DARK, BRIGHT)))
    assert opinion["verdict"] is Verdict.B
    assert opinion["rewards"][0] < opinion["rewards"][1]


def test_a_generator_is_rewarded_by_it_in_order() -> None:
    with serving(flow_factory_app(ScalarRewardJudge(brightness))) as address:
        judge = make_judge(f"scalar:{address}", RewardsConfig(judge=f"scalar:{address}"))
        batch = asyncio.run(judge.score_many([Case(REQUEST, picture) for picture in (BRIGHT, DARK, BRIGHT)]))
        rewards = [judge.reward(outcome, REQUEST) for outcome in batch.outcomes]  # type: ignore[arg-type]
    assert rewards[0] == rewards[2] > rewards[1]


def test_what_it_cannot_judge_is_no_number() -> None:
    with serving(flow_factory_app(ScalarRewardJudge(brightness))) as address:
        scalar = load_scalar(f"scalar:{address}", "cpu")
        with pytest.raises(BackendError, match=r"gave no rewards|did not answer"):
            scalar(REQUEST, Image.new("RGB", (16, 16)))


def test_nobody_there_is_said_at_once_with_the_way_to_start_one() -> None:
    with pytest.raises(ConfigError, match=r"training\.nft\.bridges --judge scalar:NAME"):
        load_scalar("scalar:http://127.0.0.1:9", "cpu")
