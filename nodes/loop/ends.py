"""The two ends of a loop: the ids of their nodes, the places of outputs. Apart from `graph`, which is imported when a loop runs."""

from __future__ import annotations

from typing import Final

OPEN_CLASS: Final = "RR_LoopStart"
CLOSE_CLASS: Final = "RR_LoopUntilScore"
MAX_SEED: Final = 2**32 - 1
SEED_SLOT: Final = 1
ITERATION_SLOT: Final = 2
IMAGE_SLOT: Final = 5
NEGATIVE_SLOT: Final = 6
"""Outputs of Loop Start, by their place."""
CONSTANT_SLOTS: Final = (3, 4)
"""Those that are the same in every iteration: the flow and the original prompt."""
