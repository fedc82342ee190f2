"""Advantages: the published rule by hand, every option, and what masking must not bias."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import numpy as np
import torch
from torch import Tensor

from rationalrewards_core.errors import ConfigError
from training.nft.advantage import AdvantageConfig, GroupRewards, advantages, group_statistics


def rewards(values: Tensor, scored: Tensor | None = None) -> GroupRewards:
    scored = torch.ones_like(values, dtype=torch.bool) if scored is None else scored
    return GroupRewards(values, scored, values[..., None], scored[..., None], torch.ones(1))


VALUES = torch.tensor([[0.2, 0.4, 0.6], [0.5, 0.5, 0.8]])


def test_the_published_rule_by_hand() -> None:
    found = advantages(rewards(VALUES), AdvantageConfig())
    every = VALUES.numpy().ravel()
    expected = (VALUES.numpy() - VALUES.numpy().mean(axis=1, keepdims=True)) / (np.std(every) + 1e-4)
    np.testing.assert_allclose(found.values_P_G.numpy(), expected, rtol=1e-6)
    assert found.used_P_G.all()


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ("none", [[-0.2, 0.0, 0.2], [-0.1, -0.1, 0.2]]),
        ("group_std", [[-1.0, 0.0, 1.0], [-0.57735, -0.57735, 1.15470]]),
        ("centred_std", [[-1.41421, 0.0, 1.41421], [-0.70711, -0.70711, 1.41421]]),
    ],
)
def test_scales(scale: str, expected: list[list[float]]) -> None:
    """The centred rewards are +-0.2, 0 and -0.1, -0.1, 0.2: their mean square is 0.14 / 6 = 0.02333..."""
    found = advantages(rewards(VALUES), AdvantageConfig(scale=scale)).values_P_G  # type: ignore[arg-type]
    wanted = torch.tensor(expected)
    if scale == "centred_std":
        wanted = torch.tensor([[-0.2, 0.0, 0.2], [-0.1, -0.1, 0.2]]) / (0.14 / 6) ** 0.5
    torch.testing.assert_close(found, wanted, rtol=2e-3, atol=1e-5)


def test_the_floor_keeps_small_spreads_small() -> None:
    values = torch.tensor([[0.50, 0.51], [0.50, 0.52]])
    free = advantages(rewards(values), AdvantageConfig(scale="group_std")).values_P_G
    held = advantages(rewards(values), AdvantageConfig(scale="group_std", std_floor=0.1)).values_P_G
    assert free.abs().max() > 0.65
    assert held.abs().max() < 0.11


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("positive_only", [0.0, 0.0, 1.0]), ("negative_only", [-1.0, 0.0, 0.0]), ("one_only", [0.0, 0.0, 1.0]),
     ("binary", [-1.0, 0.0, 1.0])],
)  # fmt: skip
def test_modes(mode: str, expected: list[float]) -> None:
    config = AdvantageConfig(mode=mode, clip=1.0)  # type: ignore[arg-type]
    found = advantages(rewards(torch.tensor([[0.0, 0.5, 1.0]])), config).values_P_G[0]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_degenerate_groups_go_by_their_own_deviation() -> None:
    """Other groups' spread, or a high global deviation, must not keep a group without any spread."""
    values = torch.tensor([[0.1, 0.9, 0.5], [0.7, 0.7, 0.7], [0.95, 0.99, 0.97]])
    found = advantages(rewards(values), AdvantageConfig(max_group_mean=0.9))
    assert found.kept_P.tolist() == [True, False, False]
    assert found.used_P_G.sum() == 3
    assert advantages(rewards(values), AdvantageConfig(min_group_std=0.05)).kept_P.tolist() == [True, False, False]


def test_equal_rewards_have_no_spread_whatever_rounding_leaves() -> None:
    values = torch.full((1, 7), 0.1)
    assert group_statistics(values, torch.ones_like(values, dtype=torch.bool)).std_P.item() == 0.0


def test_a_masked_place_is_never_read() -> None:
    scored = torch.tensor([[True, True, False], [True, False, True]])
    quiet = torch.where(scored, VALUES, torch.zeros(()))
    loud = torch.where(scored, VALUES, torch.full((), float("nan")))
    for config in (AdvantageConfig(), AdvantageConfig(scale="group_std"), AdvantageConfig(per_dimension=True)):
        a, b = advantages(rewards(quiet, scored), config), advantages(rewards(loud, scored), config)
        torch.testing.assert_close(a.values_P_G, b.values_P_G)
        assert not a.values_P_G[~scored].any()
        assert torch.equal(a.used_P_G, scored & a.kept_P[:, None])


def test_a_group_with_one_score_left_is_dropped() -> None:
    scored = torch.tensor([[True, False, False], [True, True, True]])
    assert advantages(rewards(VALUES, scored), AdvantageConfig()).kept_P.tolist() == [False, True]


def test_missing_scores_do_not_bias_group_statistics() -> None:
    """30 % unscored at random: means and variances stay those of the complete run; zeros in their place would not."""
    generator = torch.Generator().manual_seed(1)
    complete = (0.6 + 0.15 * torch.randn(4000, 24, generator=generator, dtype=torch.float64)).clamp(0, 1)
    scored = torch.rand(complete.shape, generator=generator) > 0.3
    everyone = torch.ones_like(scored)
    masked, whole = group_statistics(complete, scored), group_statistics(complete, everyone)
    error = (masked.mean_P - whole.mean_P).mean().abs()
    assert error < 3 * (masked.mean_P - whole.mean_P).std() / 4000**0.5
    ratio = masked.std_P.square().mean() / whole.std_P.square().mean()
    assert ratio.item() == pytest.approx(1.0, abs=0.01)
    zeros = group_statistics(torch.where(scored, complete, torch.zeros_like(complete)), everyone)
    assert (zeros.mean_P - whole.mean_P).mean() < -0.15
    assert zeros.std_P.mean() > 1.8 * whole.std_P.mean()


def test_dimensions_are_normalised_before_mixing() -> None:
    """A dimension with a wide spread must not drown one with a narrow spread."""
    wide, narrow = torch.tensor([[0.0, 1.0, 0.5, 0.5]]), torch.tensor([[0.5, 0.5, 0.49, 0.51]])
    dimensions = torch.stack([wide, narrow], dim=-1)
    mask = torch.ones(1, 4, dtype=torch.bool)
    table = GroupRewards(dimensions.mean(-1), mask, dimensions, mask[..., None].expand(1, 4, 2), torch.ones(2))
    plain = advantages(table, AdvantageConfig()).values_P_G[0]
    mixed = advantages(table, AdvantageConfig(per_dimension=True)).values_P_G[0]
    assert plain[3] / plain[1] < 0.03
    assert mixed[3] / mixed[1] > 0.9


def test_a_dimension_that_does_not_apply_adds_nothing() -> None:
    values = torch.tensor([[[0.2, 9.0], [0.8, 9.0]]])
    applicable = torch.tensor([[[True, False], [True, False]]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    table = GroupRewards(values[..., 0], mask, values, applicable, torch.ones(2))
    only = GroupRewards(values[..., 0], mask, values[..., :1], applicable[..., :1], torch.ones(1))
    config = AdvantageConfig(per_dimension=True)
    torch.testing.assert_close(advantages(table, config).values_P_G, advantages(only, config).values_P_G)


@pytest.mark.parametrize("change", [{"clip": 0.0}, {"scale": "std"}, {"mode": "some"}, {"std_floor": -1.0}])
def test_impossible_settings_name_their_key(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"advantage.{next(iter(change))}"):
        AdvantageConfig(**change)  # type: ignore[arg-type]
