"""What a frozen vision tower says of every picture, kept: it says the same in every epoch.

Deepstack features are kept with the rest. A picture's features are computed from that picture alone, so that they do not
depend on its company: a run that goes on after a stop computes what it would have computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from .encoding import ExampleBatch

GIB = 2**30


class TowerMemory:
    """Stands before the tower's `forward`. Keeps what fits into `gib` GiB of the host's memory, first come, first kept.

    Nothing is ever put out for something newer: where examples come in another order every epoch, what is put out is as
    likely to be needed as what takes its place.
    """

    def __init__(self, tower: Any, gib: float) -> None:
        self._forward, self._room = tower.forward, gib * GIB
        self._outputs: dict[str, list[Tensor]] = {}
        self._spec: Any = None
        """How the tower's tensors make up its output."""
        self._batch: ExampleBatch | None = None
        tower.forward = self.forward

    def __contains__(self, image: str) -> bool:
        return image in self._outputs

    @contextmanager
    def of(self, batch: ExampleBatch) -> Iterator[None]:
        """Inside, the tower is asked about the pictures of this batch and no others."""
        self._batch = batch
        try:
            yield
        finally:
            self._batch = None

    def forward(self, pixels: Tensor, grid_thw: Tensor, **options: Any) -> Any:
        """The tower's own output; `pixels` may lack the patches of pictures that are kept."""
        if self._batch is None:
            return self._forward(pixels, grid_thw=grid_thw, **options)
        features = [
            self._features(image, patches, grid, options)
            for image, patches, grid in zip(
                self._batch.images, _patches(pixels, grid_thw, self._batch.has_patches), grid_thw, strict=True
            )
        ]
        joined = [torch.cat([tensor.to(pixels.device) for tensor in column]) for column in zip(*features, strict=True)]
        return tree_unflatten(joined, self._spec)

    def _features(self, image: str, patches: Tensor | None, grid: Tensor, options: dict[str, Any]) -> list[Tensor]:
        if image in self._outputs:
            return self._outputs[image]
        assert patches is not None, f"{image} was not read, and is not known"
        with torch.no_grad():
            leaves, self._spec = tree_flatten(self._forward(patches, grid_thw=grid[None], **options))
        size = sum(tensor.numel() * tensor.element_size() for tensor in leaves)
        if size <= self._room:
            self._room -= size
            self._outputs[image] = [tensor.cpu() for tensor in leaves]
        return leaves


def _patches(pixels: Tensor, grids: Tensor, has_patches: Sequence[bool]) -> Iterator[Tensor | None]:
    """Each picture's rows of `pixels`; None for those that were left out."""
    start = 0
    for grid, present in zip(grids, has_patches, strict=True):
        rows = int(grid.prod()) if present else 0
        yield pixels[start : start + rows] if present else None
        start += rows
