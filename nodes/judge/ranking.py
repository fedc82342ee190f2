"""The order of a batch, and what a node gives out when nothing in it could be judged."""

from __future__ import annotations

from typing import Any

from ...rationalrewards_core.critique import Critique, Unscored
from ..sockets import Critiques
from .thresholds import Gate


def ranked(critiques: Critiques, gate: Gate | None = None) -> list[int]:
    """Indices, best first: images that pass, then higher rewards, then earlier images; unscored ones last."""
    rewards = critiques.rewards

    def place(index: int) -> tuple[bool, bool, float, int]:
        outcome, reward = critiques.outcomes[index], rewards[index]
        if not isinstance(outcome, Critique) or reward is None:
            return True, True, 0.0, index
        passes = gate is not None and gate.passes(outcome, critiques.rubric)
        return False, not passes, -reward, index

    return sorted(range(len(critiques.outcomes)), key=place)


def best_or_blocked(critiques: Critiques, best: int, images: Any) -> tuple[Any, Any]:
    """(index, image [1, H, W, C]) of the best image; if it is unscored, both stop what is connected to them.

    No index and no image stands for "nothing could be judged", so nodes behind must not run with one.
    """
    outcome = critiques.outcomes[best]
    if isinstance(outcome, Unscored):
        blocker = blocked(f"None of the {len(critiques.outcomes)} images could be judged: {outcome.message}")
        return blocker, blocker
    return best, images[best : best + 1]


def blocked(reason: str) -> Any:
    """An output value that skips the nodes it is connected to and shows `reason`."""
    from comfy_execution.graph_utils import ExecutionBlocker

    return ExecutionBlocker(reason)
