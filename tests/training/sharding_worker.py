"""A toy whose weights are sharded over the processes that launched this; it must do what the whole toy does.

accelerate launch ... sharding_worker.py
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
torch.set_num_threads(1)

from training.sharding import (  # noqa: E402
    average_gradients,
    gathered_weights,
    give_back,
    shard,
    spread_as,
    unsynced,
    wanted_sharding,
    whole_tensor,
)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(6, 6)
        self.adapter = nn.Linear(6, 6, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.base(x.to(self.base.weight.dtype)).float() + self.adapter(x))


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(Block(), Block())
        self.head = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.inner(x)).square().mean()  # type: ignore[no-any-return]


def batches(step: int, processes: int) -> list[Tensor]:
    return [torch.randn(3, 6, generator=torch.Generator().manual_seed(10 * step + rank)) for rank in range(processes)]


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(whole_tensor(a.detach()), b.detach(), rtol=1e-5, atol=1e-7)


def check_full(accelerator: Accelerator, sharding: Any) -> None:
    """All weights trained: two steps of two micro-batches, with calls of a part in between that no other process makes."""
    torch.manual_seed(0)
    whole = Toy()
    toy = copy.deepcopy(whole)
    shard(toy, sharding, ["Block"])
    optimisers = [torch.optim.AdamW(module.parameters(), lr=1e-2) for module in (whole, toy)]
    x = torch.randn(2, 6, generator=torch.Generator().manual_seed(99))
    for step in range(2):
        for part in (0, 1):
            together = batches(2 * step + part, accelerator.num_processes)
            torch.stack([whole(mine) for mine in together]).mean().backward()
            with unsynced(toy, accelerator):
                toy(together[accelerator.process_index]).backward()
        norms = [nn.utils.clip_grad_norm_(module.parameters(), 1e-2) for module in (toy, whole)]
        close(norms[0], norms[1])
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        for a, b in zip(toy.parameters(), whole.parameters(), strict=True):
            close(a, b)
        with gathered_weights(toy, sharding), torch.inference_mode():
            for _ in range(1 + accelerator.process_index):
                close(toy.inner(x), whole.inner(x))
    with torch.no_grad():  # weights that change between passes without gradients
        for parameter in (*toy.parameters(), *whole.parameters()):
            toy(x)
            give_back(toy)
            parameter.mul_(1.5)
        close(toy(x), whole(x))
        for a, b in zip(toy.parameters(), whole.parameters(), strict=True):
            a.copy_(spread_as(b, a))
            close(a, b)


def check_adapters(accelerator: Accelerator, sharding: Any) -> None:
    """Adapters in fp32 on a frozen base in bf16: they stay whole, and get the mean of all processes' gradients."""
    torch.manual_seed(0)
    whole = Toy()
    whole.requires_grad_(False)
    whole.inner.requires_grad_(False)
    for block in whole.inner:
        block.base.to(torch.bfloat16)  # type: ignore[union-attr, operator]
        block.adapter.requires_grad_(True)  # type: ignore[union-attr]
    toy = copy.deepcopy(whole)
    adapters = [p for p in toy.parameters() if p.requires_grad]
    shard(toy, sharding, ["Block"], whole=adapters)
    assert [p for p in toy.parameters() if p.requires_grad] == adapters
    together = batches(5, accelerator.num_processes)
    torch.stack([whole(mine) for mine in together]).mean().backward()
    toy(together[accelerator.process_index]).backward()
    average_gradients(adapters, accelerator)
    for a, b in zip(adapters, [p for p in whole.parameters() if p.requires_grad], strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert b.grad.abs().max() > 0
        close(a.grad, b.grad)


def check_rounded(accelerator: Accelerator, sharding: Any) -> None:
    """fp32 weights that are gathered and used in bf16: gradients come back in fp32, near those of autocast alone."""
    torch.manual_seed(0)
    whole = Toy()
    toy = copy.deepcopy(whole)
    shard(toy, sharding, ["Block"], compute=torch.bfloat16)
    together = batches(7, accelerator.num_processes)
    with torch.autocast("cpu", torch.bfloat16):
        reference = torch.stack([whole(mine) for mine in together]).mean()
        loss = toy(together[accelerator.process_index])
    reference.backward()
    loss.backward()
    for a, b in zip(toy.parameters(), whole.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert a.dtype == a.grad.dtype == torch.float32
        difference = (whole_tensor(a.grad) - b.grad).norm() / b.grad.norm()
        assert difference < 0.05, difference
    x = torch.randn(2, 6, generator=torch.Generator().manual_seed(99))
    with gathered_weights(toy, sharding), torch.inference_mode():
        assert toy.head.weight.dtype == torch.bfloat16
        torch.testing.assert_close(toy.inner(x).float(), whole.inner(x), atol=0.05, rtol=0.05)


def main() -> None:
    accelerator = Accelerator()
    sharding = wanted_sharding(accelerator)
    assert sharding is not None
    check_full(accelerator, sharding)
    check_adapters(accelerator, sharding)
    check_rounded(accelerator, sharding)
    if accelerator.is_main_process:
        print(f"mesh {tuple(sharding.mesh.shape)}")
    accelerator.end_training()


main()
