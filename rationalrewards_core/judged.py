"""Cases, and what became of them: outcomes, rewards, and which of several is the best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from .critique import Critique, Unscored
from .errors import RationalRewardsError
from .messages import UserRequest
from .reward import reward
from .rubric import Rubric

Outcome = Critique | Unscored


@dataclass(frozen=True)
class Case:
    """One thing to judge: a candidate and the request it should answer."""

    request: UserRequest
    candidate: Image.Image


@dataclass(frozen=True)
class Judged:
    """What became of one case."""

    case: Case
    outcome: Outcome
    reward: float | None
    """In [0, 1], under the weights of the request's rubric; None exactly if the outcome is `Unscored`."""


@dataclass(frozen=True)
class ScoreBatch:
    """Outcomes in the order of the cases."""

    outcomes: tuple[Outcome, ...]

    @property
    def critiques(self) -> tuple[Critique, ...]:
        return tuple(o for o in self.outcomes if isinstance(o, Critique))

    @property
    def reasons(self) -> Counter[str]:
        """How often each failure reason occurred."""
        return Counter(o.reason for o in self.outcomes if isinstance(o, Unscored))

    @property
    def failure_rate(self) -> float:
        return self.reasons.total() / len(self.outcomes) if self.outcomes else 0.0


class FailureRateError(RationalRewardsError):
    """Too many cases failed to go on; `outcomes` holds what is known, None for cases not finished."""

    reason = "failure_rate"

    def __init__(self, message: str, outcomes: tuple[Outcome | None, ...]) -> None:
        super().__init__(message)
        self.outcomes = outcomes


def reward_of(outcome: Outcome, rubric: Rubric) -> float | None:
    """The reward of an outcome in [0, 1]; None if it is unscored, which is no number."""
    return reward(outcome, rubric) if isinstance(outcome, Critique) else None


def best(rewards: Sequence[float | None]) -> int | None:
    """Index of the highest reward, the first of equals; None if nothing was scored. NaN is no reward and never the best."""
    ranking = [(value, -index) for index, value in enumerate(rewards) if value is not None and value == value]
    return -max(ranking)[1] if ranking else None
