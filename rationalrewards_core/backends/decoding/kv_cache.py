"""Keys and values of every layer, grown in blocks, each row written at its own index.

A token that was drafted and refused is simply overwritten by the next pass: nothing has to be rolled back. Room for
`max_tokens` at once would be 536 MB a row at the 8B's shape, so room grows in blocks of 256 positions.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

BLOCK: Final = 256
"""Positions that are added at once; few different capacities also mean few different shapes of a pass."""
ALIGNED: Final = 16
"""A pass with a mask looks at a multiple of so many positions, of which it may attend to those in use.

torch's attention takes a sixth less time on a CPU where no line of scores has an end that fills no vector; kernels of GPUs
want masks whose lines begin at such places.
"""


@dataclass(frozen=True)
class Place:
    """Where a pass of `width` tokens per row stands in the cache."""

    index: Any
    """[rows, width] positions that the pass writes."""
    row: Any
    """[rows, 1] numbers of the rows."""
    used: int
    """Positions from the start that a pass looks at: no row may attend to any behind them."""
    start: int | None
    """The first position of every row where it is the same, which makes writing one copy."""
    mask: Any
    """[rows, 1, width, used] boolean, True where a token may attend; None for one token that may attend to all.

    One row stands for all where they start alike: a batch's prompts would else take as much for it as for anything.
    """


def place_of(starts: list[int], width: int, device: Any) -> Place:
    """A pass whose rows begin at `starts`; every token attends to what stands before it in its row."""
    import torch

    end = max(starts) + width
    index = torch.tensor(starts, device=device)[:, None] + torch.arange(width, device=device)
    row = torch.arange(len(starts), device=device)[:, None]
    same = starts[0] if len(set(starts)) == 1 else None
    if width == 1 and same is not None:
        return Place(index, row, end, same, None)
    used = -(-end // ALIGNED) * ALIGNED
    positions = index if same is None else index[:1]
    mask = (torch.arange(used, device=device) <= positions[..., None])[:, None]
    return Place(index, row, used, same, mask)


class KeyValueCache:
    """[rows, capacity, heads, width] per layer, for keys and for values."""

    def __init__(self, layers: int, rows: int) -> None:
        self.keys: list[Any] = [None] * layers
        self.values: list[Any] = [None] * layers
        self.rows, self.capacity = rows, 0
        self._lines: tuple[Place, Any] | None = None
        """The latest place, which all layers write at, and its lines [rows * width] in a layer's store."""

    def reserve(self, positions: int) -> None:
        """Make room for `positions` per row; what is there stays."""
        if positions <= self.capacity:
            return
        self.capacity = -(-positions // BLOCK) * BLOCK
        for store in (self.keys, self.values):
            for layer, old in enumerate(store):
                if old is not None:
                    store[layer] = self._empty(old)
                    store[layer][:, : old.shape[1]] = old

    def update(self, layer: int, keys: Any, values: Any, place: Place) -> tuple[Any, Any]:
        """Write [rows * width, heads, head width], row after row, and return all positions in use of every row.

        These are [rows, positions, heads, head width].
        """
        if self.keys[layer] is None:
            self.keys[layer], self.values[layer] = self._empty(keys), self._empty(values)
        for store, new in ((self.keys[layer], keys), (self.values[layer], values)):
            if place.start is not None:
                width = len(new) // self.rows
                store[:, place.start : place.start + width] = new.view(self.rows, width, *new.shape[1:])
            else:
                store.view(-1, *new.shape[1:]).index_copy_(0, self._lines_of(place), new)
        return self.keys[layer][:, : place.used], self.values[layer][:, : place.used]

    def _lines_of(self, place: Place) -> Any:
        if self._lines is None or self._lines[0] is not place:
            self._lines = place, (place.row * self.capacity + place.index).flatten()
        return self._lines[1]

    def drop(self, rows: Collection[int]) -> list[int]:
        """Drop these rows; the last ones take their places, so that few are moved. Returns who stands where now."""
        order, moves = list(range(self.rows)), []
        for row in sorted(rows, reverse=True):
            last = order.pop()
            if row < len(order):
                order[row] = last
                moves.append((len(order), row))
        for store in (self.keys, self.values):
            for layer, old in enumerate(store):
                for source, target in moves:
                    old[target] = old[source]
                store[layer] = old[: len(order)]
        self.rows = len(order)
        return order

    def keep(self, rows: list[int]) -> None:
        """Only these rows, in this order; a row may be there twice."""
        for store in (self.keys, self.values):
            for layer, old in enumerate(store):
                store[layer] = None if old is None else old[rows]
        self.rows = len(rows)

    def _empty(self, like: Any) -> Any:
        return like.new_zeros((self.rows, self.capacity, *like.shape[-2:]))
