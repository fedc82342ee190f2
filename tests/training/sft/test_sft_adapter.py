"""An adapter's layer by matrix products is peft's own, in value and in every gradient."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

import peft
import torch
from torch import Tensor, nn

from training.sft.adapter import use_products


def adapted(dtype: torch.dtype = torch.float32, dropout: float = 0.0) -> Any:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(24, 40, bias=False), nn.SiLU(), nn.Linear(40, 8)).to(dtype)
    config = peft.LoraConfig(
        r=4, lora_alpha=12, lora_dropout=dropout, target_modules=["0", "2"], init_lora_weights=False
    )
    return peft.get_peft_model(model, config).get_base_model()


def answered(model: Any, x: Tensor) -> list[Tensor]:
    """The output, then the gradients of the input and of everything that trains."""
    x = x.clone().requires_grad_()
    y = model(x)
    y.square().sum().backward()
    trained = [parameter.grad.clone() for parameter in model.parameters() if parameter.requires_grad]
    model.zero_grad()
    return [y.detach(), x.grad, *trained]


def replaced(model: Any) -> int:
    return sum("forward" in vars(module) for module in model.modules())


def test_values_and_gradients_are_those_of_peft() -> None:
    model, x = adapted(), torch.randn(3, 5, 24)
    wanted = answered(model, x)
    use_products(model)
    assert replaced(model) == 2
    for mine, theirs in zip(answered(model, x), wanted, strict=True):
        # Sums of terms of both signs: an element near zero is rounded as the largest is, and each CPU rounds in its own order.
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=float(1e-6 * theirs.abs().max()))
    with torch.no_grad():
        for module in model.modules():
            if hasattr(module, "lora_B"):
                module.lora_B["default"].weight.zero_()
        torch.testing.assert_close(model(x), model[2].base_layer(nn.functional.silu(model[0].base_layer(x))))


@pytest.mark.parametrize("options", [{"dtype": torch.bfloat16}, {"dropout": 0.1}])
def test_other_layers_keep_their_own_way(options: dict[str, Any]) -> None:
    model = adapted(**options)
    use_products(model)
    assert replaced(model) == 0
