"""A critique that knows its reward, and which of several is the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .critique import Critique, Unscored
from .reward import reward
from .rubric import Rubric

if TYPE_CHECKING:
    from .scorer import Case


@dataclass(frozen=True)
class Judged:
    """What became of one case."""

    case: Case
    outcome: Critique | Unscored
    reward: float | None
    """In [0, 1], under the weights of the request's rubric; None exactly if the outcome is `Unscored`."""


def reward_of(outcome: Critique | Unscored, rubric: Rubric) -> float | None:
    """The reward of an outcome in [0, 1]; None if it is unscored, which is no number."""
    return reward(outcome, rubric) if isinstance(outcome, Critique) else None


def best(rewards: Sequence[float | None]) -> int | None:
    """Index of the highest reward, the first of equals; None if nothing was scored. NaN is no reward and never the best."""
    ranking = [(value, -index) for index, value in enumerate(rewards) if value is not None and value == value]
    return -max(ranking)[1] if ranking else None
