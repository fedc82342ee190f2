"""Qwen3-VL's vision tower as one function: pictures of one size are attended to together, not one after the other.

transformers' modules stay the weights' home. What depends on a picture's size alone (positions, rotary factors) is
computed once per size.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any


class FlatVision:
    """A `Qwen3VLVisionModel`."""

    def __init__(self, tower: Any) -> None:
        self._tower, self._merge = tower, tower.spatial_merge_size
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
            hidden = hidden + self._attend(block.attn, block.norm1(hidden), cos, sin)
            hidden = hidden + block.mlp(block.norm2(hidden))
            if number in self._layers:
                merger = tower.deepstack_merger_list[self._layers.index(number)]
                deepstack.append(self._merged(merger, hidden, pictures))
        return self._merged(tower.merger, hidden, pictures), deepstack

    def _attend(self, attention: Any, hidden: Any, cos: Any, sin: Any) -> Any:
        import torch.nn.functional as F

        pictures, patches, _ = hidden.shape
        mixed = attention.qkv(hidden).view(pictures, patches, 3, self._heads, -1)
        queries, keys, values = mixed.permute(2, 0, 3, 1, 4)
        queries, keys = _turned(queries, cos, sin), _turned(keys, cos, sin)
        attended = F.scaled_dot_product_attention(queries, keys, values)
        return attention.proj(attended.transpose(1, 2).reshape(pictures, patches, -1))

    def _merged(self, merger: Any, hidden: Any, pictures: int) -> Any:
        return merger(hidden.reshape(-1, hidden.shape[-1])).view(pictures, hidden.shape[1] // self._merge**2, -1)

    def _positions(self, height: int, width: int) -> tuple[Any, Any, Any]:
        """Learnt positions [patches, hidden] and rotary factors [patches, head width], patches in merging order."""
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
        angles = torch.cat([angles, angles], dim=-1)
        return place, angles.cos(), angles.sin()


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
    """Rotary positions in fp32, as transformers turns them in the vision tower."""
    import torch

    exact = states.float()
    first, second = exact.chunk(2, dim=-1)
    return (exact * cos + torch.cat((-second, first), dim=-1) * sin).to(states.dtype)
