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


@dataclass(frozen=True)
class Place:
    """Where a pass of `width` tokens per row stands in the cache."""

    index: Any
    """[rows, width] positions that the pass writes."""
    row: Any
    """[rows, 1] numbers of the rows."""
    used: int
    """Positions from the start that any row may attend to."""
    start: int | None
    """The first position of every row where it is the same, which makes writing one copy."""
    mask: Any
    """[rows, 1, width, used] boolean, True where a token may attend; None for one token that may attend to all.

    One row stands for all where they start alike: a batch's prompts would else take as much for it as for anything.
    """


def place_of(starts: list[int], width: int, device: Any) -> Place:
    """A pass whose rows begin at `starts`; every token attends to what stands before it in its row."""
    import torch

    used = max(starts) + width
    index = torch.tensor(starts, device=device)[:, None] + torch.arange(width, device=device)
    row = torch.arange(len(starts), device=device)[:, None]
    same = starts[0] if len(set(starts)) == 1 else None
    if width == 1 and same is not None:
        return Place(index, row, used, same, None)
    positions = index if same is None else index[:1]
    mask = (torch.arange(used, device=device) <= positions[..., None])[:, None]
    return Place(index, row, used, same, mask)


class KeyValueCache:
    """[rows, capacity, heads, width] per layer, for keys and for values."""

    def __init__(self, layers: int, rows: int) -> None:
        self.keys: list[Any] = [None] * layers
        self.values: list[Any] = [None] * layers
        self.rows, self.capacity = rows, 0

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
        """Write [rows, width, heads, head width] and return all positions in use, in the same order of axes."""
        if self.keys[layer] is None:
            self.keys[layer], self.values[layer] = self._empty(keys), self._empty(values)
        for store, new in ((self.keys[layer], keys), (self.values[layer], values)):
            if place.start is not None:
                store[:, place.start : place.start + new.shape[1]] = new
            else:
                store[place.row, place.index] = new
        return self.keys[layer][:, : place.used], self.values[layer][:, : place.used]

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
        return like.new_zeros((self.rows, self.capacity, *like.shape[2:]))
