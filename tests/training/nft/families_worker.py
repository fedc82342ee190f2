"""Every family's transformer sharded over the processes that launched this, fp32 adapters on a bf16 backbone.

accelerate launch ... families_worker.py

The three policies' velocities and the adapters' gradients must be those that the whole transformer gave before.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))
torch.set_num_threads(1)

from tests.training.nft.test_nft_families import SUBJECTS, make_family, request_for  # noqa: E402
from training.nft.config import PolicyConfig  # noqa: E402
from training.nft.families.base import Conditioning, ModelFamily  # noqa: E402
from training.nft.policy import LoraPolicy  # noqa: E402
from training.sharding import average_gradients, wanted_sharding  # noqa: E402


def computed(family: ModelFamily, policy: LoraPolicy, conditioning: Conditioning) -> list[Tensor]:
    """Velocities of old, reference and current policy, and the gradients of the last."""
    x_t = torch.randn(2, *family.latent_shape(), generator=torch.Generator().manual_seed(1))
    t = torch.tensor([0.3, 0.8])
    found = []
    for other in (policy.old, policy.reference):
        with other() as model:
            found.append(family.velocity(model, x_t, t, conditioning))
    current = family.velocity(policy.module, x_t, t, conditioning)
    current.square().sum().backward()
    return [*found, current.detach(), *(p.grad.clone() for p in policy.parameters if p.grad is not None)]


def check(name: str, accelerator: Accelerator) -> None:
    sharding: Any = wanted_sharding(accelerator)
    family = make_family(name)
    encoded = family.encode(request_for(family))
    joint = {key: torch.cat([t, t]) for key, t in encoded.items()}
    conditioning = {key: t.bfloat16() if t.is_floating_point() else t for key, t in joint.items()}
    family.config = replace(family.config, precision="bf16")
    family.transformer.to(torch.bfloat16)
    policy = LoraPolicy(family.transformer, PolicyConfig(rank=4, alpha=8), family.lora_targets, seed=0)
    with torch.no_grad():
        for number, parameter in enumerate(policy.parameters):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    family.transformer.enable_gradient_checkpointing()
    whole = computed(family, policy, conditioning)
    for parameter in policy.parameters:
        parameter.grad = None
    policy.shard(sharding)
    assert any(p.to_local().numel() < p.numel() for p in family.transformer.parameters() if hasattr(p, "to_local"))
    sharded = computed(family, policy, conditioning)
    average_gradients(policy.parameters, accelerator)
    # Text queries of a last block reach no output, so their adapters learn nothing.
    assert sum(bool(a.abs().max() > 0) for a in whole) > 0.8 * len(whole)
    for a, b in zip(whole, sharded, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-6)


def main() -> None:
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as plus

    plus.VAE_IMAGE_SIZE = 16 * 16  # the pipeline's own 1024 x 1024 is a tiny transformer's whole context
    accelerator = Accelerator(cpu=True)
    for name in SUBJECTS:
        check(name, accelerator)
        print(f"{name} sharded over {accelerator.num_processes}", flush=True)
    accelerator.end_training()


main()
