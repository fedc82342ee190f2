"""Teaching the miniature's vision tower with dense labels: what stands at every patch.

A tower taught only through the words of critiques takes hours to find shapes; the renderer knows where
everything is, so it says so. The heads are thrown away after training.

`tower` runs the stock weights over a fixed 48x48 grid with batched attention: same numbers as
transformers' own path (a test compares them), about twice as fast on a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.qwen3_vl.modeling_qwen3_vl import rotate_half

from rationalrewards_core.miniature.flaws import Example
from rationalrewards_core.miniature.world import COLOURS, LETTERS, SHAPES, SIZES

from .student import GRID, MERGE, PATCH

THING_CLASSES = 1 + len(COLOURS) * len(SHAPES) * len(SIZES)
LETTER_CLASSES = 1 + len(LETTERS)
LEVELS = 4
PATCH_FLAWS = 3
"""Per patch: belongs to a cut-off thing, belongs to a misshapen thing, is stained."""


def merge_order() -> Tensor:
    """Row-major patch index of each patch in Qwen's merge-grouped order, [GRID * GRID]."""
    half = GRID // MERGE
    order = torch.arange(GRID * GRID).view(half, MERGE, half, MERGE).permute(0, 2, 1, 3)
    return order.reshape(-1)


def patches(pictures: np.ndarray) -> Tensor:
    """[B, 48, 48, 3] uint8 -> [B, GRID * GRID, 3 * 2 * 4 * 4], as the image processor makes them."""
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    half = GRID // MERGE
    x = x.view(len(x), 3, half, MERGE, PATCH, half, MERGE, PATCH).permute(0, 2, 5, 3, 6, 1, 4, 7)
    x = x.reshape(len(x), GRID * GRID, 3, 1, PATCH, PATCH).expand(-1, -1, -1, 2, -1, -1)
    return x.reshape(len(x), GRID * GRID, -1)


@dataclass(frozen=True)
class Seen:
    """The tower's output for B pictures."""

    hidden: Tensor
    """[B, patches, vision width], before merging."""
    merged: Tensor
    """[B, IMAGE_TOKENS, text width]."""
    deepstack: list[Tensor]
    """Per deep-stack level [B, IMAGE_TOKENS, text width]."""


def tower(visual: Any, pixels: Tensor, *, frozen: bool = False) -> Seen:
    """Run Qwen3-VL's vision tower on `pixels` [B, patches, 96] of one fixed grid; `frozen` trains the mergers only."""
    with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
        levels = _levels(visual, pixels)
    hidden = levels[-1]

    def merged(merger: Any, level: Tensor) -> Tensor:
        tokens: Tensor = merger(level.flatten(0, 1)).view(len(pixels), -1, merger.linear_fc2.out_features)
        return tokens

    deep = [levels[i] for i in visual.deepstack_visual_indexes]
    stacked = [merged(merger, level) for merger, level in zip(visual.deepstack_merger_list, deep, strict=True)]
    return Seen(hidden, merged(visual.merger, hidden), stacked)


def _levels(visual: Any, pixels: Tensor) -> list[Tensor]:
    """The patch states after each block, [B, patches, vision width]."""
    count = pixels.shape[1]
    order = merge_order()
    projection = visual.patch_embed.proj
    x = F.linear(pixels, projection.weight.view(projection.out_channels, -1), projection.bias)
    x = x + visual.pos_embed.weight[order]
    places = torch.stack([order // GRID, order % GRID])[None]
    cos, sin = (part.view(1, 1, count, -1) for part in visual.rotary_pos_emb(x, places))
    levels = []
    for block in visual.blocks:
        x = x + _attention(block.attn, block.norm1(x), cos, sin)
        x = x + block.mlp(block.norm2(x))
        levels.append(x)
    return levels


def _attention(attention: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    batch, count, width = x.shape
    q, k, v = attention.qkv(x).view(batch, count, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    cos, sin = cos.to(q.dtype), sin.to(q.dtype)
    q, k = q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin
    # Spelled out: for a few short heads this is faster on a CPU, backwards too, than the fused kernel.
    weights = (q @ k.transpose(-1, -2) * attention.scaling).float().softmax(dim=-1).to(v.dtype)
    mixed = (weights @ v).transpose(1, 2).reshape(batch, count, width)
    projected: Tensor = attention.proj(mixed)
    return projected


@dataclass(frozen=True)
class DenseLabels:
    """What the heads must say about B pictures."""

    things: Tensor
    """[B, patches] class of the thing at each patch, 0 for none."""
    letters: Tensor
    """[B, patches] 1 + letter, 0 for none."""
    flaws: Tensor
    """[B, patches, PATCH_FLAWS] 0 or 1."""
    levels: Tensor
    """[B, 2] blur and noise level of the whole picture."""


def dense_labels(examples: list[Example]) -> DenseLabels:
    order = merge_order().numpy()
    rows = [_labels(example) for example in examples]
    things, letters, flaws, levels = (np.stack(column) for column in zip(*rows, strict=True))
    return DenseLabels(
        torch.from_numpy(things[:, order]),
        torch.from_numpy(letters[:, order]),
        torch.from_numpy(flaws[:, order]),
        torch.from_numpy(levels),
    )


def _pooled(mask: np.ndarray) -> np.ndarray:
    """[48, 48] -> mean per patch [GRID * GRID], row-major."""
    pooled: np.ndarray = mask.reshape(GRID, PATCH, GRID, PATCH).mean(axis=(1, 3)).reshape(-1)
    return pooled


def _labels(example: Example) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    layers, content = example.rendering, example.depiction
    things = np.zeros(GRID * GRID, np.int64)
    strongest = np.full(GRID * GRID, 0.2)
    flaws = np.zeros((GRID * GRID, PATCH_FLAWS), np.float32)
    for index, thing in enumerate(content.content.things):
        cover = _pooled(layers.things[index])
        wins = cover > strongest
        colour, shape, size = COLOURS.index(str(thing.colour)), SHAPES.index(thing.shape), SIZES.index(str(thing.size))
        things[wins] = 1 + (colour * len(SHAPES) + shape) * len(SIZES) + size
        strongest = np.maximum(strongest, cover)
        flaws[wins, 0] = content.defects.cropped == index
        flaws[wins, 1] = content.defects.deformed == index
    cells = layers.letters.reshape(GRID, PATCH, GRID, PATCH).max(axis=(1, 3)).reshape(-1)
    flaws[:, 2] = _pooled(layers.blotches) > 0.25
    return things, cells, flaws, np.array([content.defects.blur, content.defects.noise])


class DenseHeads(nn.Module):
    """Linear read-outs of the tower's patch states."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.thing_head = nn.Linear(width, THING_CLASSES)
        self.letter_head = nn.Linear(width, LETTER_CLASSES)
        self.flaw_head = nn.Linear(width, PATCH_FLAWS)
        self.level_head = nn.Linear(width, 2 * LEVELS)

    def loss(self, hidden: Tensor, labels: DenseLabels) -> Tensor:
        """Cross-entropies, empty patches weighted down; [] in nats."""
        things = F.cross_entropy(self.thing_head(hidden).flatten(0, 1), labels.things.flatten(), reduction="none")
        letters = F.cross_entropy(self.letter_head(hidden).flatten(0, 1), labels.letters.flatten(), reduction="none")
        thing_weight = torch.where(labels.things.flatten() > 0, 1.0, 0.1)
        letter_weight = torch.where(labels.letters.flatten() > 0, 1.0, 0.05)
        flaws = F.binary_cross_entropy_with_logits(self.flaw_head(hidden), labels.flaws, reduction="none")
        flaw_weight = torch.where(labels.things > 0, 1.0, 0.1)[..., None].expand_as(flaws)
        levels = self.level_head(hidden.mean(dim=1)).view(-1, 2, LEVELS)
        return (
            (things * thing_weight).sum() / thing_weight.sum()
            + (letters * letter_weight).sum() / letter_weight.sum()
            + (flaws * flaw_weight).sum() / flaw_weight.sum()
            + 0.5 * F.cross_entropy(levels.flatten(0, 1), labels.levels.flatten())
        )

    @torch.no_grad()
    def accuracy(self, hidden: Tensor, labels: DenseLabels) -> dict[str, float]:
        """Share right: thing and letter classes where there is one, stained or flawed patches, levels."""
        there, has_letter = labels.things > 0, labels.letters > 0
        levels = self.level_head(hidden.mean(dim=1)).view(-1, 2, LEVELS).argmax(-1) == labels.levels
        flawed = (self.flaw_head(hidden) > 0) == (labels.flaws > 0.5)
        return {
            "things": float((self.thing_head(hidden).argmax(-1) == labels.things)[there].float().mean()),
            "letters": float((self.letter_head(hidden).argmax(-1) == labels.letters)[has_letter].float().mean()),
            "flaws": float(flawed[there].float().mean()),
            "blur": float(levels[:, 0].float().mean()),
            "noise": float(levels[:, 1].float().mean()),
        }
