"""Compiled blocks: the same velocities and gradients for all three policies, and nothing is compiled twice.

Graphs are captured as for the real compiler and then run as they are: writing kernels takes minutes and is PyTorch's
own business. `benchmarks/nft.py` compares gradients of really compiled blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("peft")

import torch
from torch import Tensor

from rationalrewards_core.errors import ConfigError
from rationalrewards_core.messages import UserRequest
from tests.training.nft import tiny_pipelines
from training.nft.config import ModelConfig, NFTConfig, PolicyConfig, changed
from training.nft.families import family_class
from training.nft.families.base import ModelFamily
from training.nft.policy import LoraPolicy
from training.nft.rollout import ConditioningCache

MAKE: dict[str, Callable[[], Any]] = {"sd3": tiny_pipelines.sd3, "flux": tiny_pipelines.flux}


class Capture:
    """A backend that counts graphs."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: Any, inputs: Any) -> Any:
        self.graphs += 1
        return graph.forward


def subject(name: str) -> tuple[ModelFamily, LoraPolicy]:
    """A tiny pipeline with three different policies, the same every time."""
    family = family_class(name)(MAKE[name](), ModelConfig(family=name, height=16, width=16))
    family.freeze()
    policy = LoraPolicy(family.transformer, PolicyConfig(rank=2, alpha=4), family.lora_targets, 0)
    with torch.no_grad():
        for seed in range(2):
            for number, parameter in enumerate(policy.parameters):
                parameter.normal_(std=0.2, generator=torch.Generator().manual_seed(100 * seed + number))
            if seed == 0:
                policy.follow(0.0)
    return family, policy


def results(family: ModelFamily, policy: LoraPolicy, size: int) -> list[Tensor]:
    """Velocities of all policies at a batch of `size`, and the current one's gradients."""
    encoded = ConditioningCache(family)
    request = UserRequest("a large red circle")
    encoded.prepare([request])
    x_t = torch.randn(size, *family.latent_shape(), generator=torch.Generator().manual_seed(size))
    batch = (x_t, torch.linspace(0.2, 0.8, size), encoded.batch([request] * size))
    with policy.old() as model:
        found = [family.velocity(model, *batch)]
    with policy.reference() as model:
        found.append(family.velocity(model, *batch))
    current = family.velocity(policy.module, *batch)
    return [*found, current.detach(), *torch.autograd.grad(current.square().sum(), policy.parameters)]


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKE)
def test_compiled_blocks_compute_the_same(name: str) -> None:
    torch.compiler.reset()
    plain, capture = subject(name), Capture()
    compiled = subject(name)
    compiled[0].compile(capture)
    seen = []
    for size in (2, 3, 2, 3):
        expected = results(*plain, size)
        assert any(gradient.abs().max() > 0 for gradient in expected[3:])
        torch.testing.assert_close(results(*compiled, size), expected, rtol=1e-4, atol=1e-5)
        seen.append(capture.graphs)
    assert 0 < seen[0] < seen[1], "every batch size has kernels of its own"
    assert seen[1] == seen[3], "and nothing is compiled twice"


def test_full_tuning_is_not_compiled() -> None:
    with pytest.raises(ConfigError, match=r"model.compile works with policy.tuning 'lora' alone"):
        changed(NFTConfig(), {"model": {"compile": True}, "policy": {"tuning": "full"}})
