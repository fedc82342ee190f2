"""An adapter's layers as matrix products alone.

peft's own forward scales the adapter's activations and adds them to the layer's in passes of their own. On a CPU these
passes and their gradients are a tenth of a small model's step; here the small factor is scaled, and the sum is part of
a product. Weights, names and numbers are peft's, to the last digits.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn


def use_products(model: Any) -> None:
    """Do so wherever a layer and its one adapter hold the same floating point, and nothing is dropped out."""
    for layer in model.modules():
        if isinstance(layer, LoraLinear) and _is_plain(layer):
            layer.forward = partial(_forward, layer)


def _is_plain(layer: Any) -> bool:
    if type(layer.base_layer) is not nn.Linear or len(layer.active_adapters) != 1:
        return False
    name = layer.active_adapters[0]
    kinds = {layer.base_layer.weight.dtype, layer.lora_A[name].weight.dtype, layer.lora_B[name].weight.dtype}
    drops = not isinstance(layer.lora_dropout[name], nn.Identity)
    return len(kinds) == 1 and not drops and not layer.merged and layer.lora_B[name].bias is None


def _forward(layer: Any, x: Tensor) -> Tensor:
    """y = x W + s (x A) B, as in 2106.09685, eq. 3."""
    name = layer.active_adapters[0]
    flat = x.flatten(0, -2)
    low = (flat @ layer.lora_A[name].weight.t()) * layer.scaling[name]
    y = torch.addmm(layer.base_layer(flat), low, layer.lora_B[name].weight.t())
    return y.unflatten(0, x.shape[:-1])
