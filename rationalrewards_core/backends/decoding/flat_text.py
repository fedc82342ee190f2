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
        turn = _turn(*self._rotary(hidden, positions))
        mask = None if place.mask is None else self._additive(place.mask, hidden.dtype)
        for number, layer in enumerate(self._layers):
            hidden = hidden + layer.leave(self._attend(layer, number, hidden, turn, cache, place, mask))
            hidden = hidden + layer.feed_forward(hidden)
            if deepstack is not None and number < len(deepstack.features):
                hidden = hidden.clone()
                hidden[deepstack.mask] += deepstack.features[number].to(hidden.dtype)
        return _norm(hidden, self._norm)

    def _additive(self, mask: Any, dtype: Any) -> Any:
        """0 or minus infinity, for every head of a group: spelt out once, not anew in every layer."""
        import torch

        added = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, float("-inf"))
        return added.repeat(1, 1, self._heads // self._groups, 1)

    def _attend(
        self,
        layer: _FlatLayer,
        number: int,
        hidden: Any,
        turn: tuple[Any, Any],
        cache: KeyValueCache,
        place: Place,
        mask: Any,
    ) -> Any:
        import torch
        import torch.nn.functional as F

        rows, width, _ = hidden.shape
        heads, groups = self._heads, self._groups
        mixed = layer.enter(hidden).view(rows, width, heads + 2 * groups, self._width)
        turned, values = torch.split(mixed, [heads + groups, groups], dim=2)
        turned = F.rms_norm(turned, (self._width,), None, layer.epsilon) * layer.query_key_weight
        turned = torch.addcmul(turned * turn[0], turned.roll(self._width // 2, -1), turn[1])
        queries, keys = torch.split(turned, [heads, groups], dim=2)
        keys, values = cache.update(number, keys, values, place)
        # The heads of a group become further query positions, so that keys and values are never repeated.
        share = heads // groups
        queries = queries.reshape(rows, width, groups, share, self._width).permute(0, 2, 3, 1, 4)
        queries = queries.reshape(rows, groups, share * width, self._width)
        attended = F.scaled_dot_product_attention(queries, keys.transpose(1, 2), values.transpose(1, 2), attn_mask=mask)
        attended = attended.view(rows, groups, share, width, self._width).permute(0, 3, 1, 2, 4)
        return attended.reshape(rows, width, heads * self._width)


class _FlatLayer:
    """One decoder layer's weights, reached with as few calls as they allow."""

    def __init__(self, layer: Any) -> None:
        import torch

        attention, mlp = layer.self_attn, layer.mlp
        self._before, self._after = layer.input_layernorm, layer.post_attention_layernorm
        query, key = attention.q_norm, attention.k_norm
        heads = [
            attention.q_proj.out_features // attention.head_dim,
            attention.k_proj.out_features // attention.head_dim,
        ]
        self.query_key_weight = torch.cat(
            [m.weight.data.expand(n, -1) for m, n in zip((query, key), heads, strict=True)]
        )
        """[heads + groups, head width]: queries and keys are normalised and turned together."""
        self.epsilon = query.variance_epsilon
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


def _turn(cos: Any, sin: Any) -> tuple[Any, Any]:
    """Rotary factors [rows, width, 1, head width] for `x * cos + roll(x) * sin`: the sign of the half turn is in sin."""
    import torch

    first, second = sin.chunk(2, dim=-1)
    return cos[:, :, None], torch.cat((-first, second), dim=-1)[:, :, None]
