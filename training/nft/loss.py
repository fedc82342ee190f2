"""The losses, as pure functions: DiffusionNFT (arXiv 2509.16117) and AWM (arXiv 2509.25050).

Rectified flow: x_t = (1 - t) x_0 + t eps, v = eps - x_0, and so x_0 = x_t - t v. Every function returns one value
per sample `[B]`; means run over a sample's own dimensions only, so that any latent shape fits (`[B C H W]`, packed
`[B L C]`, points `[B 2]`). Weighing and averaging over samples is the trainer's work: it alone knows who was masked.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_WEIGHT = 1e-5
"""Floor of the self-normalising weight."""


def noisy(x_0_B: Tensor, noise_B: Tensor, t_B: Tensor) -> Tensor:
    """x_t = (1 - t) x_0 + t eps, `[B ...]`."""
    t = over(t_B, x_0_B)
    return (1.0 - t) * x_0_B + t * noise_B


def clean(v_B: Tensor, x_t_B: Tensor, t_B: Tensor) -> Tensor:
    """The clean sample that a velocity implies: x_0 = x_t - t v, `[B ...]`."""
    return x_t_B - over(t_B, x_t_B) * v_B


def optimality(advantages_B: Tensor, clip: float) -> Tensor:
    """r = 1/2 + A / (2 c) within [0, 1]: how far a sample belongs to the good ones (2509.16117, Alg. 1).

    `advantages_B` are clipped to [-c, c] here. With c = 1 this is the paper's rule; the published runs use c = 5.
    """
    return (0.5 + advantages_B.clamp(-clip, clip) / (2.0 * clip)).clamp(0.0, 1.0)


def nft_loss(
    v_B: Tensor,
    v_old_B: Tensor,
    x_t_B: Tensor,
    x_0_B: Tensor,
    t_B: Tensor,
    r_B: Tensor,
    *,
    mix_beta: float,
    clip: float,
    self_normalised: bool = True,
) -> Tensor:
    """c / beta (r |x+ - x_0|^2 + (1 - r) |x- - x_0|^2), `[B]`: Eq. 5 of 2509.16117 in x_0 space.

    x+ and x- come from the implicit policies v+ = (1 - beta) v_old + beta v and v- = (1 + beta) v_old - beta v. The
    factor c / beta keeps the on-policy gradient the same for every c and beta: with d = v - v_old, e = x_0(v_old) - x_0
    and an unclipped advantage a, the loss without self-normalisation is

        (c / beta) |e|^2 + c beta t^2 |d|^2 - 2 t a <e, d>

    so c beta is the strength of the pull towards the old policy and nothing else. `v_old_B` takes no gradient.
    """
    v_old_B = v_old_B.detach()
    positive = (1.0 - mix_beta) * v_old_B + mix_beta * v_B
    negative = (1.0 + mix_beta) * v_old_B - mix_beta * v_B
    losses = [
        reconstruction(clean(branch, x_t_B, t_B), x_0_B, self_normalised=self_normalised)
        for branch in (positive, negative)
    ]
    return clip * (r_B * losses[0] + (1.0 - r_B) * losses[1]) / mix_beta


def reconstruction(guess_B: Tensor, x_0_B: Tensor, *, self_normalised: bool) -> Tensor:
    """Mean squared error per sample `[B]`, divided by its own mean absolute error where `self_normalised`.

    The weight takes no gradient; it is what "adaptive weighting" is in 2509.16117.
    """
    error = guess_B - x_0_B
    squared = per_sample(error.square())
    if not self_normalised:
        return squared
    with torch.no_grad():
        weight = per_sample(error.abs().double()).clamp_min(LEAST_WEIGHT).to(squared.dtype)
    return squared / weight


def awm_loss(
    v_B: Tensor,
    v_old_B: Tensor,
    x_t_B: Tensor,
    x_0_B: Tensor,
    t_B: Tensor,
    advantages_B: Tensor,
    *,
    ratio_clip: float,
    self_normalised: bool = True,
) -> Tensor:
    """Advantage-weighted matching (2509.25050), `[B]`: the flow-matching loss stands in for -log p(x_0).

    rho = exp(l_old - l) with l the x_0 error of each policy; the loss is -min(rho A, clip(rho, 1 - k, 1 + k) A) with
    k = `ratio_clip`. On-policy its gradient is A grad l: without self-normalisation exactly that of `nft_loss`.
    """
    error = reconstruction(clean(v_B, x_t_B, t_B), x_0_B, self_normalised=False)
    with torch.no_grad():
        guess_old = clean(v_old_B, x_t_B, t_B)
        old = reconstruction(guess_old, x_0_B, self_normalised=False)
        scale = per_sample((guess_old - x_0_B).abs().double()).clamp_min(LEAST_WEIGHT).to(error.dtype)
    # Both errors are divided by the old policy's weight: two different weights would bias the ratio.
    difference = (old - error) / scale if self_normalised else old - error
    ratio = torch.exp(difference.clamp(-20.0, 20.0))
    clipped = ratio.clamp(1.0 - ratio_clip, 1.0 + ratio_clip)
    return -torch.minimum(ratio * advantages_B, clipped * advantages_B)


def velocity_kl(v_B: Tensor, v_reference_B: Tensor) -> Tensor:
    """|v - v_ref|^2 averaged over a sample's dimensions, `[B]`: the KL term of the published loss."""
    return per_sample((v_B - v_reference_B.detach()).square())


def norm_ratio(v_B: Tensor, v_reference_B: Tensor) -> Tensor:
    """|v| / |v_ref| per sample, `[B]`: above 1 the velocities are inflating (arXiv 2606.27771)."""
    reference = per_sample(v_reference_B.detach().square()).clamp_min(1e-12)
    return (per_sample(v_B.square()) / reference).sqrt()


def norm_guard(v_B: Tensor, v_reference_B: Tensor, margin: float) -> Tensor:
    """Squared hinge on the norm ratio, `[B]`: zero up to 1 + margin."""
    return (norm_ratio(v_B, v_reference_B) - 1.0 - margin).clamp_min(0.0).square()


def per_sample(values_B: Tensor) -> Tensor:
    """Mean over everything but the first dimension, `[B]`."""
    return values_B.flatten(1).mean(dim=1)


def over(t_B: Tensor, like: Tensor) -> Tensor:
    """`t_B` shaped to multiply `like`, `[B 1 ... 1]`."""
    return t_B.reshape(-1, *([1] * (like.ndim - 1))).to(like.dtype)
