"""Qwen3-VL's vision tower as one function: pictures of one size are attended to together, not one after the other.

transformers' modules stay the weights' home. What depends on a picture's size alone (positions, rotary factors) is
computed once per size.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Final

from .flat_text import PIECE_ON_CPU

GELU_SLOPE: Final = 2.0 * math.sqrt(2.0 / math.pi)
GELU_CUBE: Final = 0.044715


class FlatVision:
    """A `Qwen3VLVisionModel`."""

    def __init__(self, tower: Any) -> None:
        self._tower, self._merge = tower, tower.spatial_merge_size
        self._gelu_by_tanh = tower.config.hidden_act == "gelu_pytorch_tanh"
        self._heads = tower.config.num_heads
        self._layers = list(tower.deepstack_visual_indexes)
        self._of_size = lru_cache(maxsize=16)(self._positions)

    @staticmethod
    def fits(tower: Any) -> bool:
        """Whether this is the very class whose arithmetic is written here, without adapters or quantised parts."""
        import torch

        name = f"{type(tower).__module__}.{type(tower).__name__}"
        return name == "transformers.models.qwen3_vl.modeling_qwen3_vl.Qwen3VLVisionModel" and all(
            type(block.attn.qkv) is torch.nn.Linear for block in tower.blocks
        )

    def __call__(self, patches: Any, height: int, width: int) -> tuple[Any, list[Any]]:
        """Features of equally large pictures.

        `patches` is [pictures, height * width, values]; answers [pictures, image tokens, hidden] and the same for
        every deepstack layer.
        """
        import torch.nn.functional as F

        tower, pictures = self._tower, len(patches)
        place, cos, sin = self._of_size(height, width)
        project = tower.patch_embed.proj
        hidden = F.linear(patches, project.weight.flatten(1), project.bias) + place
        deepstack = []
        for number, block in enumerate(tower.blocks):
            hidden += self._attend(block.attn, block.norm1(hidden), cos, sin)
            hidden = self._fed(block, hidden)
            if number in self._layers:
                merger = tower.deepstack_merger_list[self._layers.index(number)]
                deepstack.append(self._merged(merger, hidden, pictures))
        return self._merged(tower.merger, hidden, pictures), deepstack

    def _attend(self, attention: Any, hidden: Any, cos: Any, sin: Any) -> Any:
        import torch.nn.functional as F

        pictures, patches, _ = hidden.shape
        mixed = attention.qkv(hidden).view(pictures, patches, 3 * self._heads, -1)
        turned = _turned(mixed[:, :, : 2 * self._heads], cos, sin)
        parts = (turned[:, :, : self._heads], turned[:, :, self._heads :], mixed[:, :, 2 * self._heads :])
        attended = F.scaled_dot_product_attention(*(part.transpose(1, 2) for part in parts))
        return attention.proj(attended.transpose(1, 2).reshape(pictures, patches, -1))

    def _fed(self, block: Any, hidden: Any) -> Any:
        """`hidden` and what the feed-forward part adds to it; on a CPU in pieces that stay in the processor's cache."""
        import torch

        if hidden.device.type != "cpu" or hidden.dtype is not torch.float32 or not self._gelu_by_tanh:
            return hidden + block.mlp(block.norm2(hidden))
        for piece in hidden.view(-1, hidden.shape[-1]).split(PIECE_ON_CPU):
            piece += block.mlp.linear_fc2(gelu_(block.mlp.linear_fc1(block.norm2(piece))))
        return hidden

    def _merged(self, merger: Any, hidden: Any, pictures: int) -> Any:
        return merger(hidden.reshape(-1, hidden.shape[-1])).view(pictures, hidden.shape[1] // self._merge**2, -1)

    def _positions(self, height: int, width: int) -> tuple[Any, Any, Any]:
        """Learnt positions [patches, hidden] and rotary factors [patches, 1, head width], patches in merging order.

        The sign of the half turn is in the sine.
        """
        import torch

        tower, device = self._tower, self._tower.pos_embed.weight.device
        rows, columns = _merging_order(height, width, self._merge)
        table = tower.pos_embed.weight
        side = round(len(table) ** 0.5)
        below = torch.linspace(0, side - 1, height)[rows], torch.linspace(0, side - 1, width)[columns]
        place = 0.0
        for row, row_share in _neighbours(below[0], side):
            for column, column_share in _neighbours(below[1], side):
                share = (row_share * column_share).to(device, table.dtype)
                place = place + table[(row * side + column).to(device)] * share[:, None]
        steps = tower.rotary_pos_emb.inv_freq.float().to(device)
        angles = torch.cat([rows.to(device)[:, None] * steps, columns.to(device)[:, None] * steps], dim=-1)
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        return place, torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)


def _merging_order(height: int, width: int, merge: int) -> tuple[Any, Any]:
    """Row and column of every patch: squares of `merge` x `merge` patches, which become one token, stand together."""
    import torch

    grid = torch.arange(height * width).view(height // merge, merge, width // merge, merge)
    order = grid.transpose(1, 2).flatten()
    return order // width, order % width


def _neighbours(position: Any, side: int) -> list[tuple[Any, Any]]:
    """The two rows of a learnt grid around fractional positions, each with its share (bilinear)."""
    lower = position.floor().long()
    upper = (lower + 1).clamp(max=side - 1)
    return [(lower, 1.0 - (position - lower)), (upper, position - lower)]


def _turned(states: Any, cos: Any, sin: Any) -> Any:
    """Rotary positions of [pictures, patches, heads, head width] in fp32, as transformers turns them in the tower."""
    exact = states.float()
    half_turned = exact.roll(exact.shape[-1] // 2, -1)
    return half_turned.mul_(sin).addcmul_(exact, cos).to(states.dtype)


def gelu_(values: Any) -> Any:
    """In place x * sigmoid(2 z) with z = sqrt(2 / pi) (x + 0.044715 x^3), which is GELU by tanh (arXiv 1606.08415).

    torch's vectorised tanh takes four times what its sigmoid does on a CPU.
    """
    import torch

    inner = torch.addcmul(values, values * values, values, value=GELU_CUBE)
    return values.mul_(inner.mul_(GELU_SLOPE).sigmoid_())
