"""Connected regions of small boolean pictures, without a dependency on an image library."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def components(mask: Mask) -> list[Mask]:
    """The 4-connected regions of `mask`, each as a mask, in reading order."""
    left = mask.copy()
    regions = []
    while left.any():
        start = int(left.argmax())
        region = np.zeros_like(mask)
        region.flat[start] = True
        while True:
            grown = _grown(region) & left
            if (grown == region).all():
                break
            region = grown
        left &= ~region
        regions.append(region)
    return regions


def dilated(mask: Mask, steps: int) -> Mask:
    """`mask` grown by `steps` pixels in each of the four directions."""
    for _ in range(steps):
        mask = _grown(mask)
    return mask


def _grown(mask: Mask) -> Mask:
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    return grown
