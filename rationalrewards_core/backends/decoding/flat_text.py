"""Qwen3-VL's decoder layers as one function: the arithmetic of transformers' modules, with fewer and larger calls.

transformers' modules stay the weights' home. Projections that read the same input are stacked where the weights are
plain, and the modules then hold views of the stack, so that nothing is in memory twice. Quantised or adapted
projections are called as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .kv_cache import KeyValueCache, Place


@dataclass(frozen=True)
class Deepstack:
    """Image features that are added to the hidden states after the first layers (arXiv 2406.04334)."""

    mask: Any
    """[rows, width] boolean, True at image tokens."""
    features: list[Any]
    """Per layer [image tokens, hidden]."""


class FlatText:
    """`embed_tokens`, the layers and the final norm of a `Qwen3VLTextModel`."""

    def __init__(self, text_model: Any) -> None:
        config = text_model.config
        self.embed, self._rotary, self._norm = text_model.embed_tokens, text_model.rotary_emb, text_model.norm
        self._heads, self._groups = config.num_attention_heads, config.num_key_value_heads
        self._width = text_model.layers[0].self_attn.head_dim
        self._layers = [_FlatLayer(layer) for layer in text_model.layers]

    @staticmethod
    def fits(text_model: Any) -> bool:
        """Whether this is the very class whose arithmetic is written here, neither sharded nor subclassed."""
        name = f"{type(text_model).__module__}.{type(text_model).__name__}"
        return name == "transformers.models.qwen3_vl.modeling_qwen3_vl.Qwen3VLTextModel" and all(
            type(layer).__name__ == "Qwen3VLTextDecoderLayer" for layer in text_model.layers
        )

    @property
    def depth(self) -> int:
        return len(self._layers)

    def __call__(
        self, hidden: Any, positions: Any, cache: KeyValueCache, place: Place, deepstack: Deepstack | None = None
    ) -> Any:
        """Hidden states [rows, width, hidden] of embedded tokens at rotary `positions` [3, rows, width]."""
        cos, sin = (part[:, :, None] for part in self._rotary(hidden, positions))
        mask = None if place.mask is None else self._grouped_mask(place.mask)
        for number, layer in enumerate(self._layers):
            hidden = hidden + layer.leave(self._attend(layer, number, hidden, cos, sin, cache, place, mask))
            hidden = hidden + layer.feed_forward(hidden)
            if deepstack is not None and number < len(deepstack.features):
                hidden = hidden.clone()
                hidden[deepstack.mask] += deepstack.features[number].to(hidden.dtype)
        return _norm(hidden, self._norm)

    def _attend(
        self,
        layer: _FlatLayer,
        number: int,
        hidden: Any,
        cos: Any,
        sin: Any,
        cache: KeyValueCache,
        place: Place,
        mask: Any,
    ) -> Any:
        import torch.nn.functional as F

        rows, width, _ = hidden.shape
        heads, groups = self._heads, self._groups
        mixed = layer.enter(hidden).view(rows, width, heads + 2 * groups, self._width)
        queries, keys, values = mixed.split((heads, groups, groups), dim=2)
        queries = _rotated(_norm(queries, layer.query_norm), cos, sin)
        keys = _rotated(_norm(keys, layer.key_norm), cos, sin)
        keys, values = cache.update(number, keys, values, place)
        # The heads of a group become further query positions, so that keys and values are never repeated.
        share = heads // groups
        queries = queries.view(rows, width, groups, share, self._width).permute(0, 2, 3, 1, 4)
        queries = queries.reshape(rows, groups, share * width, self._width)
        seen = F.scaled_dot_product_attention(queries, keys.transpose(1, 2), values.transpose(1, 2), attn_mask=mask)
        seen = seen.view(rows, groups, share, width, self._width).permute(0, 3, 1, 2, 4)
        return seen.reshape(rows, width, heads * self._width)

    def _grouped_mask(self, mask: Any) -> Any:
        return mask.repeat(1, 1, self._heads // self._groups, 1)


class _FlatLayer:
    """One decoder layer's weights, reached with as few calls as they allow."""

    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._before, self._after = layer.input_layernorm, layer.post_attention_layernorm
        self.query_norm, self.key_norm = attention.q_norm, attention.k_norm
        self._qkv = _together([attention.q_proj, attention.k_proj, attention.v_proj])
        self._gate_up = _together([mlp.gate_proj, mlp.up_proj])
        self._down, self._activation, self.leave = mlp.down_proj, mlp.act_fn, attention.o_proj

    def enter(self, hidden: Any) -> Any:
        """Queries, keys and values side by side."""
        return self._qkv(_norm(hidden, self._before))

    def feed_forward(self, hidden: Any) -> Any:
        gate, up = self._gate_up(_norm(hidden, self._after)).chunk(2, dim=-1)
        return self._down(self._activation(gate) * up)


def _together(modules: list[Any]) -> Any:
    """One function for projections of the same input: one product where their weights are plain, else their own calls."""
    import torch
    import torch.nn.functional as F

    plain = all(type(m) is torch.nn.Linear and not m.weight.requires_grad for m in modules)
    if not plain or any((m.bias is None) != (modules[0].bias is None) for m in modules):
        return lambda hidden: torch.cat([module(hidden) for module in modules], dim=-1)
    weight = _stacked([m.weight for m in modules])
    bias = None if modules[0].bias is None else _stacked([m.bias for m in modules])
    return lambda hidden: F.linear(hidden, weight, bias)


def _stacked(parameters: list[Any]) -> Any:
    """The parameters as one tensor, of which they become views."""
    import torch

    stack = torch.cat([p.data for p in parameters])
    for parameter, view in zip(parameters, torch.split(stack, [len(p) for p in parameters]), strict=True):
        parameter.data = view
    return stack


def _norm(hidden: Any, module: Any) -> Any:
    """RMS norm as transformers rounds it: normalised in fp32, rounded, then weighted."""
    import torch.nn.functional as F

    return F.rms_norm(hidden, (hidden.shape[-1],), None, module.variance_epsilon) * module.weight


def _rotated(states: Any, cos: Any, sin: Any) -> Any:
    import torch

    first, second = states.chunk(2, dim=-1)
    return states * cos + torch.cat((-second, first), dim=-1) * sin
