"""Qwen3-VL's decoder layers as one function: the arithmetic of transformers' modules, with fewer and larger calls.

transformers' modules stay the weights' home. Projections that read the same input are stacked where the weights are
plain, and the modules then hold views of the stack, so that nothing is in memory twice. Quantised or adapted
projections are called as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from .kv_cache import KeyValueCache, Place

PIECE: Final = 2_048
PIECE_ON_CPU: Final = 256
"""Tokens that go through a feed-forward part at once.

Its inner values are the widest there are: those of a prompt of 8 rows would take a gigabyte at the 8B's shape. On a CPU a
small piece stays in the cache; on a GPU each piece reads (and NF4 unpacks) all weights anew, so pieces are few.
"""


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
        self.embed, self._rotary = text_model.embed_tokens, text_model.rotary_emb
        self._norm = RootMeanSquare(text_model.norm.weight, text_model.norm.variance_epsilon)
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
        self,
        hidden: Any,
        positions: Any,
        cache: KeyValueCache,
        place: Place,
        deepstack: Deepstack | None = None,
        last: Any = None,
    ) -> Any:
        """Hidden states [rows, width, hidden] of embedded tokens at rotary `positions` [3, rows, width].

        Positions of text alone, where time, height and width are one, may be given as [rows, width]. Of a prompt only
        what follows it is asked: with `last` [rows], the place of each row's last token, which is none of an image, they
        are [rows, 1, hidden], and the last layer computes no others than its keys and values need.
        """
        import torch

        rows, width, _ = hidden.shape
        turn = self._turn(hidden, positions)
        mask = None if place.mask is None else self._additive(place.mask, hidden.dtype)
        hidden = hidden.view(rows * width, -1)
        for number, layer in enumerate(self._layers):
            attended = self._attend(layer, number, hidden, (rows, width), turn, cache, place, mask)
            if last is not None and number == self.depth - 1:
                ends = torch.arange(rows, device=last.device) * width + last
                hidden, attended, deepstack = hidden[ends], attended[ends], None
            hidden = layer.leave(hidden, attended)
            del attended  # of a batch's prompts it is large
            hidden = layer.feed_forward(hidden)
            if deepstack is not None and number < len(deepstack.features):
                hidden[deepstack.mask.flatten()] += deepstack.features[number].to(hidden.dtype)
        return self._norm(hidden).view(rows, -1, hidden.shape[-1])

    def _turn(self, hidden: Any, positions: Any) -> tuple[Any, Any]:
        """Rotary factors [tokens, 1, head width] for `x * cos + roll(x) * sin`: the sign of the half turn is in sin."""
        import torch

        if positions.dim() == 2 and self._rotary.rope_type == "default":
            angles = positions.reshape(-1, 1, 1).float() * self._rotary.inv_freq
            cos, sin = angles.cos(), angles.sin()
            return torch.cat((cos, cos), -1).to(hidden.dtype), torch.cat((-sin, sin), -1).to(hidden.dtype)
        cos, sin = self._rotary(hidden, positions.expand(3, *positions.shape[-2:]))
        first, second = sin.view(-1, 1, self._width).chunk(2, dim=-1)
        return cos.view(-1, 1, self._width), torch.cat((-first, second), dim=-1)

    def _additive(self, mask: Any, dtype: Any) -> Any:
        """0 or minus infinity, for every head of a group: spelt out once, not anew in every layer."""
        import torch

        added = torch.where(mask, 0.0, float("-inf")).to(dtype)
        return added.repeat(1, 1, self._heads // self._groups, 1)

    def _attend(
        self,
        layer: _FlatLayer,
        number: int,
        hidden: Any,
        shape: tuple[int, int],
        turn: tuple[Any, Any],
        cache: KeyValueCache,
        place: Place,
        mask: Any,
    ) -> Any:
        """What the heads read for each token, [tokens, heads * head width]."""
        import torch.nn.functional as F

        (rows, width), heads, groups = shape, self._heads, self._groups
        mixed = layer.enter(hidden).view(rows * width, heads + 2 * groups, self._width)
        turned = layer.query_key_norm(mixed[:, : heads + groups])
        half_turned = turned.roll(self._width // 2, -1)
        turned.mul_(turn[0]).addcmul_(half_turned, turn[1])
        keys, values = cache.update(number, turned[:, heads:], mixed[:, heads + groups :], place)
        # The heads of a group become further query positions, so that keys and values are never repeated.
        share = heads // groups
        queries = turned[:, :heads].view(rows, width, groups, share, self._width).permute(0, 2, 3, 1, 4)
        queries = queries.reshape(rows, groups, share * width, self._width)
        del mixed, turned, half_turned  # of a batch's prompts they are as much as attention itself takes
        attended = F.scaled_dot_product_attention(queries, keys.transpose(1, 2), values.transpose(1, 2), attn_mask=mask)
        attended = attended.view(rows, groups, share, width, self._width).permute(0, 3, 1, 2, 4)
        return attended.reshape(rows * width, heads * self._width)


class RootMeanSquare:
    """RMS norm over the last axis as transformers rounds it: normalised in fp32, rounded, then weighted."""

    def __init__(self, weight: Any, epsilon: float) -> None:
        import torch

        self._weight, self._epsilon, self._size = weight, epsilon, weight.shape[-1]
        # In fp32 on a CPU a few large calls take half the time of the many small ones that make up torch's own.
        self._few_calls = weight.dtype is torch.float32 and weight.device.type == "cpu"
        self._least = torch.tensor([epsilon])

    def __call__(self, hidden: Any) -> Any:
        import torch
        import torch.nn.functional as F

        if not self._few_calls or hidden.dtype is not torch.float32:
            return F.rms_norm(hidden, (self._size,), None, self._epsilon) * self._weight
        length = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True)
        scale = torch.addcmul(self._least, length, length, value=1.0 / self._size).rsqrt_()
        return (hidden * scale).mul_(self._weight)


class _FlatLayer:
    """One decoder layer's weights, reached with as few calls as they allow; hidden states are [tokens, hidden]."""

    def __init__(self, layer: Any) -> None:
        import torch

        attention, mlp = layer.self_attn, layer.mlp
        before, after, query, key = (
            layer.input_layernorm,
            layer.post_attention_layernorm,
            attention.q_norm,
            attention.k_norm,
        )
        self._before = RootMeanSquare(before.weight, before.variance_epsilon)
        self._after = RootMeanSquare(after.weight, after.variance_epsilon)
        heads = [
            attention.q_proj.out_features // attention.head_dim,
            attention.k_proj.out_features // attention.head_dim,
        ]
        weight = torch.cat([m.weight.data.expand(n, -1) for m, n in zip((query, key), heads, strict=True)])
        self.query_key_norm = RootMeanSquare(weight, query.variance_epsilon)
        """Queries and keys [tokens, heads + groups, head width] are normalised together."""
        self._qkv = _together([attention.q_proj, attention.k_proj, attention.v_proj])
        self._gate_up = _together([mlp.gate_proj, mlp.up_proj])
        self._activation = mlp.act_fn
        self.leave, self._down = _added(attention.o_proj), _added(mlp.down_proj)
        """What was attended to, added to the hidden states."""

    def enter(self, hidden: Any) -> Any:
        """Queries, keys and values side by side."""
        return self._qkv(self._before(hidden))

    def feed_forward(self, hidden: Any) -> Any:
        """What comes out, which may stand where `hidden` stood."""
        piece = PIECE_ON_CPU if hidden.device.type == "cpu" else PIECE
        if len(hidden) <= piece:
            return self._fed(hidden)
        for tokens in hidden.split(piece):
            tokens.copy_(self._fed(tokens))
        return hidden

    def _fed(self, hidden: Any) -> Any:
        gate, up = self._gate_up(self._after(hidden)).chunk(2, dim=-1)
        return self._down(hidden, self._activation(gate).mul_(up))


def _together(modules: list[Any]) -> Any:
    """One function for projections of the same input: one product where their weights are plain, else their own calls."""
    import torch

    if not all(map(_plain, modules)) or any((m.bias is None) != (modules[0].bias is None) for m in modules):
        return lambda hidden: torch.cat([module(hidden) for module in modules], dim=-1)
    stacked = _stacked_columns if _small_product(modules[0].weight) else _stacked
    weight = stacked([m.weight for m in modules]).t()
    if modules[0].bias is None:
        return lambda hidden: torch.mm(hidden, weight)
    bias = _stacked([m.bias for m in modules])
    return lambda hidden: torch.addmm(bias, hidden, weight)


def _added(module: Any) -> Any:
    """A projection whose outcome is added to the hidden states: one call in fp32, where it rounds no differently."""
    import torch

    if not _plain(module) or module.bias is not None or module.weight.dtype is not torch.float32:
        return lambda hidden, inner: hidden + module(inner)
    stacked = _stacked_columns if _small_product(module.weight) else _stacked
    weight = stacked([module.weight]).t()
    return lambda hidden, inner: torch.addmm(hidden, inner, weight)


def _plain(module: Any) -> bool:
    import torch

    return type(module) is torch.nn.Linear and not module.weight.requires_grad


def _stacked(parameters: list[Any]) -> Any:
    """The parameters as one tensor, of which they become views."""
    import torch

    stack = torch.cat([p.data for p in parameters])
    for parameter, view in zip(parameters, torch.split(stack, [len(p) for p in parameters]), strict=True):
        parameter.data = view
    return stack


def _small_product(weight: Any) -> bool:
    """Whether products of a few tokens with this weight are faster where its columns lie together.

    In fp32 on a CPU a product of 1 to 32 tokens then takes half to three quarters of the time, a larger one no more.
    """
    import torch

    return weight.dtype is torch.float32 and weight.device.type == "cpu"


def _stacked_columns(parameters: list[Any]) -> Any:
    """The same, with the numbers that one input is multiplied with side by side in memory."""
    import torch

    columns = torch.cat([p.data.t() for p in parameters], dim=1).contiguous()
    sizes = [len(p) for p in parameters]
    for parameter, view in zip(parameters, torch.split(columns, sizes, dim=1), strict=True):
        parameter.data = view.t()
    return columns.t()
