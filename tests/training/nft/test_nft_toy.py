"""The loss does its job on points: mass moves to the rewarded mode, and without the negative branch it collapses."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import copy

import torch
from torch import Tensor, nn

from training.nft.advantage import AdvantageConfig, AdvantageMode, GroupRewards, advantages
from training.nft.loss import awm_loss, clean, nft_loss, noisy, optimality, reconstruction
from training.nft.timesteps import TimesConfig, plan_times, seeded

STEPS = 12
MODES = torch.tensor([[-2.0, 0.0], [2.0, 0.0]])


class Velocity(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.layers(torch.cat([x, t[:, None], (3 * t[:, None]).sin(), (3 * t[:, None]).cos()], dim=1))


@torch.no_grad()
def sample(model: Velocity, count: int, seed: int) -> Tensor:
    x = torch.randn(count, 2, generator=torch.Generator().manual_seed(seed))
    for t in torch.linspace(1.0, 1.0 / STEPS, STEPS):
        x = x - model(x, t.expand(count)) / STEPS
    return x


def share_right(x: Tensor) -> float:
    return ((x - MODES[1]).norm(dim=1) < (x - MODES[0]).norm(dim=1)).float().mean().item()


def spread(x: Tensor) -> float:
    """Deviation within the right mode: what a collapse shrinks or blows up."""
    return x[x[:, 0] > 0].std(dim=0).mean().item()


@pytest.fixture(scope="module")
def pretrained() -> Velocity:
    torch.manual_seed(0)
    model = Velocity()
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(1)
    for _ in range(700):
        x_0 = MODES[torch.randint(2, (256,), generator=generator)] + 0.3 * torch.randn(256, 2, generator=generator)
        noise, t = torch.randn(256, 2, generator=generator), torch.rand(256, generator=generator)
        (model(noisy(x_0, noise, t), t) - (noise - x_0)).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()
    return model


def tune(start: Velocity, mode: AdvantageMode = "all", algorithm: str = "nft", epochs: int = 25) -> Velocity:
    model, old = copy.deepcopy(start), copy.deepcopy(start)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    config = AdvantageConfig(mode=mode, clip=1.0)
    times = TimesConfig(source="stratified", count=4)
    for epoch in range(epochs):
        x_0 = sample(old, 256, seed=epoch)
        reward = torch.sigmoid(2 * x_0[:, 0]).reshape(8, 32)
        scored = torch.ones_like(reward, dtype=torch.bool)
        a = advantages(GroupRewards(reward, scored, reward[..., None], scored[..., None], torch.ones(1)), config)
        t_P_G_N = plan_times(times, torch.linspace(1.0, 1.0 / STEPS, STEPS), 0, epoch, range(8), 32)
        for number in range(4):
            t = t_P_G_N[..., number].reshape(-1)
            x_t = noisy(x_0, torch.randn(256, 2, generator=seeded("noise", epoch, number)), t)
            v, values = model(x_t, t), a.values_P_G.reshape(-1)
            v_old = old(x_t, t).detach()
            if algorithm == "no negative branch":
                loss = optimality(values, 1.0) * reconstruction(clean(v, x_t, t), x_0, self_normalised=True)
            elif algorithm == "awm":
                loss = awm_loss(v, v_old, x_t, x_0, t, values, ratio_clip=0.2)
            else:
                loss = nft_loss(v, v_old, x_t, x_0, t, optimality(values, 1.0), mix_beta=1.0, clip=1.0)
            loss.mean().backward()
            optimiser.step()
            optimiser.zero_grad()
        old.load_state_dict(model.state_dict())
    return model


def test_mass_moves_to_the_rewarded_mode(pretrained: Velocity) -> None:
    before, after = sample(pretrained, 2000, 99), sample(tune(pretrained), 2000, 99)
    assert 0.4 < share_right(before) < 0.6
    assert share_right(after) > 0.9
    assert 0.1 < spread(after) < 1.0


def test_awm_moves_it_too(pretrained: Velocity) -> None:
    assert share_right(sample(tune(pretrained, algorithm="awm"), 2000, 99)) > 0.85


def test_without_the_negative_branch_it_collapses(pretrained: Velocity) -> None:
    """Learning from good samples alone narrows each generation further; the negative branch holds the spread."""
    whole, half = tune(pretrained, epochs=60), tune(pretrained, algorithm="no negative branch", epochs=60)
    start = spread(sample(pretrained, 2000, 99))
    assert spread(sample(half, 2000, 99)) < 0.75 * start
    assert spread(sample(whole, 2000, 99)) > 0.8 * start
