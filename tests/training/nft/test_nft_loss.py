"""Losses against hand arithmetic, against the published formulas and against closed forms."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor

from training.nft.loss import (
    awm_loss,
    clean,
    nft_loss,
    noisy,
    norm_guard,
    norm_ratio,
    optimality,
    per_sample,
    velocity_kl,
)


def tensors(batch: int = 6, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x_0, noise, v_old, delta = (torch.randn(batch, 3, 4, 4, generator=generator, dtype=torch.float64) for _ in range(4))
    t = torch.rand(batch, generator=generator, dtype=torch.float64) * 0.9 + 0.05
    return {"x_0": x_0, "noise": noise, "v_old": v_old, "v": v_old + 0.3 * delta, "t": t}


def test_flow_matching_is_consistent() -> None:
    s = tensors()
    x_t = noisy(s["x_0"], s["noise"], s["t"])
    torch.testing.assert_close(clean(s["noise"] - s["x_0"], x_t, s["t"]), s["x_0"])


def test_hand_arithmetic() -> None:
    """One number per sample: x_0 = 1, x_t = 2, t = 0.5, v_old = 1, v = 2, beta = 0.5, c = 2, r = 0.75.

    v+ = 1.5 and x+ = 1.25, v- = 0.5 and x- = 1.75: losses 0.0625 and 0.5625, or, over the absolute errors, 0.25 and
    0.75. Then 2 / 0.5 (0.75 * 0.25 + 0.25 * 0.75) = 1.5 and 4 (0.75 * 0.0625 + 0.25 * 0.5625) = 0.75.
    """
    one = torch.ones(1, 1)
    arguments = (2 * one, one, 2 * one, one, torch.tensor([0.5]), torch.tensor([0.75]))
    assert nft_loss(*arguments, mix_beta=0.5, clip=2.0).item() == pytest.approx(1.5)
    assert nft_loss(*arguments, mix_beta=0.5, clip=2.0, self_normalised=False).item() == pytest.approx(0.75)


def test_optimality_by_hand() -> None:
    a = torch.tensor([-9.0, -5.0, 0.0, 1.0, 5.0, 7.0])
    torch.testing.assert_close(optimality(a, 5.0), torch.tensor([0.0, 0.0, 0.5, 0.6, 1.0, 1.0]))
    torch.testing.assert_close(optimality(a, 1.0), torch.tensor([0.0, 0.0, 0.5, 1.0, 1.0, 1.0]))


def test_the_published_formulas_step_by_step() -> None:
    """The formulas of the published implementation, written out; equal to 1e-6 in single precision."""
    s = {key: value.float() for key, value in tensors().items()}
    a = torch.tensor([-6.0, -1.5, 0.0, 0.4, 2.0, 8.0])
    c, beta, kl_weight = 5.0, 0.1, 1e-4
    reference = s["v_old"] * 0.9
    x_t, t = noisy(s["x_0"], s["noise"], s["t"]), s["t"].reshape(-1, 1, 1, 1)
    r = torch.clip(torch.clip(a, -c, c) / c / 2.0 + 0.5, 0, 1)
    x_plus = x_t - t * (beta * s["v"] + (1 - beta) * s["v_old"])
    x_minus = x_t - t * ((1.0 + beta) * s["v_old"] - beta * s["v"])
    losses = []
    for guess in (x_plus, x_minus):
        weight = torch.abs(guess.double() - s["x_0"].double()).mean(dim=(1, 2, 3), keepdim=True).clip(min=0.00001)
        losses.append(((guess - s["x_0"]) ** 2 / weight).mean(dim=(1, 2, 3)))
    policy = ((r * losses[0] / beta + (1 - r) * losses[1] / beta) * c).mean()
    expected = policy + kl_weight * ((s["v"] - reference) ** 2).mean(dim=(1, 2, 3)).mean()
    ours = nft_loss(s["v"], s["v_old"], x_t, s["x_0"], s["t"], optimality(a, c), mix_beta=beta, clip=c).mean()
    ours = ours + kl_weight * velocity_kl(s["v"], reference).mean()
    assert ours.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize(("c", "beta"), [(1.0, 1.0), (5.0, 1.0), (5.0, 0.1), (2.0, 3.0)])
def test_the_expansion(c: float, beta: float) -> None:
    """(c / beta) |e|^2 + c beta t^2 |d|^2 - 2 t a <e, d>, for advantages within the clip."""
    s = tensors()
    a = torch.linspace(-c, c, 6, dtype=torch.float64)
    x_t = noisy(s["x_0"], s["noise"], s["t"])
    loss = nft_loss(
        s["v"], s["v_old"], x_t, s["x_0"], s["t"], optimality(a, c), mix_beta=beta, clip=c, self_normalised=False
    )
    e, d = clean(s["v_old"], x_t, s["t"]) - s["x_0"], s["v"] - s["v_old"]
    expected = (c / beta) * per_sample(e**2) + c * beta * s["t"] ** 2 * per_sample(d**2)
    torch.testing.assert_close(loss, expected - 2 * s["t"] * a * per_sample(e * d))


def test_the_on_policy_gradient_is_the_advantage_times_one_direction() -> None:
    """-2 t a e over the sample's dimensions, whatever c and beta; nothing for an advantage of zero."""
    s = tensors()
    a = torch.tensor([-1.0, -0.5, 0.0, 0.25, 0.5, 1.0], dtype=torch.float64)
    x_t = noisy(s["x_0"], s["noise"], s["t"])
    e = clean(s["v_old"], x_t, s["t"]) - s["x_0"]
    expected = (-2 * s["t"] * a).reshape(-1, 1, 1, 1) * e / e[0].numel()
    for c, beta in ((1.0, 1.0), (5.0, 0.1), (2.0, 7.0)):
        v = s["v_old"].clone().requires_grad_()
        arguments = (v, s["v_old"], x_t, s["x_0"], s["t"], optimality(a, c))
        nft_loss(*arguments, mix_beta=beta, clip=c, self_normalised=False).sum().backward()
        torch.testing.assert_close(v.grad, expected)
        # The self-normalising weight only rescales each sample: |e| / mean |e| for both branches.
        v = s["v_old"].clone().requires_grad_()
        nft_loss(v, *arguments[1:], mix_beta=beta, clip=c).sum().backward()
        torch.testing.assert_close(v.grad, expected / per_sample(e.abs()).reshape(-1, 1, 1, 1))


@pytest.mark.parametrize(("c", "beta"), [(1.0, 1.0), (5.0, 1.0), (5.0, 0.2)])
def test_the_fixed_point_shrinks_with_c_times_beta(c: float, beta: float) -> None:
    """The loss is least at v - v_old = a e / (c beta t)."""
    s = tensors(batch=1)
    x_t, a = noisy(s["x_0"], s["noise"], s["t"]), torch.tensor([0.7], dtype=torch.float64)
    e = clean(s["v_old"], x_t, s["t"]) - s["x_0"]
    v = (s["v_old"] + a * e / (c * beta * s["t"])).requires_grad_()
    arguments = (s["v_old"], x_t, s["x_0"], s["t"], optimality(a, c))
    nft_loss(v, *arguments, mix_beta=beta, clip=c, self_normalised=False).sum().backward()
    torch.testing.assert_close(v.grad, torch.zeros_like(v))


def test_on_policy_awm_and_nft_agree() -> None:
    s = tensors()
    a = torch.tensor([-1.0, -0.5, 0.0, 0.25, 0.5, 1.0], dtype=torch.float64)
    x_t = noisy(s["x_0"], s["noise"], s["t"])
    for self_normalised in (False, True):
        grads = []
        for loss in ("nft", "awm"):
            v = s["v_old"].clone().requires_grad_()
            arguments = (v, s["v_old"], x_t, s["x_0"], s["t"])
            if loss == "nft":
                values = nft_loss(
                    *arguments, optimality(a, 5.0), mix_beta=0.5, clip=5.0, self_normalised=self_normalised
                )
            else:
                values = awm_loss(*arguments, a, ratio_clip=0.2, self_normalised=self_normalised)
            values.sum().backward()
            grads.append(v.grad)
        torch.testing.assert_close(grads[0], grads[1])


def test_awm_stops_pulling_beyond_the_clip() -> None:
    """A good sample that has become much more likely, and a bad one much less, have no gradient left."""
    s = tensors(batch=2)
    x_t = noisy(s["x_0"], s["noise"], s["t"])
    target = s["noise"] - s["x_0"]
    good, bad = torch.tensor([1.0, 1.0], dtype=torch.float64), torch.tensor([-1.0, -1.0], dtype=torch.float64)
    for v0, a in ((target, good), (s["v_old"] + 9 * (s["v_old"] - target), bad)):
        v = v0.clone().requires_grad_()
        awm_loss(v, s["v_old"], x_t, s["x_0"], s["t"], a, ratio_clip=0.1).sum().backward()
        assert v.grad is not None
        assert v.grad.abs().max() == 0.0


def test_norms() -> None:
    reference = torch.randn(4, 8)
    scale = torch.tensor([0.5, 1.0, 1.1, 2.0])
    v = reference * scale[:, None]
    torch.testing.assert_close(norm_ratio(v, reference), scale)
    torch.testing.assert_close(norm_guard(v, reference, 0.2), torch.tensor([0.0, 0.0, 0.0, 0.64]))


def test_no_gradient_reaches_the_old_policy_or_the_reference() -> None:
    s = tensors()
    old, reference = s["v_old"].clone().requires_grad_(), s["v_old"].clone().requires_grad_()
    x_t = noisy(s["x_0"], s["noise"], s["t"])
    v = s["v"].clone().requires_grad_()
    r = torch.full((6,), 0.7, dtype=torch.float64)
    loss = nft_loss(v, old, x_t, s["x_0"], s["t"], r, mix_beta=1.0, clip=5.0).sum()
    (loss + velocity_kl(v, reference).sum() + norm_guard(v, reference, 0.0).sum()).backward()
    assert old.grad is None
    assert reference.grad is None
