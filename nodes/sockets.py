"""The pack's own socket types and what travels through them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

if TYPE_CHECKING:
    from ..rationalrewards_core.judged import Outcome
    from ..rationalrewards_core.messages import UserRequest
    from ..rationalrewards_core.rubric import Rubric
    from .show.previews import SavedBatch

ScorerSocket = io.Custom("RR_SCORER")
"""A `scorers.LoadedScorer`."""
CritiqueSocket = io.Custom("RR_CRITIQUE")
"""A `Critiques`."""
RubricSocket = io.Custom("RR_RUBRIC")
"""A core `Rubric`."""
FlowSocket = io.Custom("RR_FLOW")
"""The wire from Loop Start to Loop Until Score; it carries nothing but its own ends."""


@dataclass(frozen=True, kw_only=True)
class Critiques:
    """What one node said about a batch of candidates of one request text."""

    request: UserRequest
    """Where every candidate has a source image of its own, the first one's request."""
    rubric: Rubric
    outcomes: tuple[Outcome, ...]
    """One per image of the batch, in its order."""
    notes: tuple[str, ...] = ()
    """What the user should know about how they came about, such as images judged at fewer pixels; a sentence each."""
    saved: SavedBatch | None = field(default=None, compare=False)
    """Where the judged pictures were saved for the cards; None if they were not."""

    @property
    def rewards(self) -> tuple[float | None, ...]:
        """Per image in [0, 1]; None where it is unscored."""
        from ..rationalrewards_core.judged import reward_of

        return tuple(reward_of(outcome, self.rubric) for outcome in self.outcomes)

    @property
    def best(self) -> int | None:
        """Index of the highest reward, the first of equals; None when nothing was scored."""
        from ..rationalrewards_core.judged import best

        return best(self.rewards)

    def to_json(self) -> dict[str, Any]:
        return {
            "request": self.request.text,
            "rubric": self.rubric.name,
            "rewards": list(self.rewards),
            "best": self.best,
            "notes": list(self.notes),
            "outcomes": [outcome.to_json() for outcome in self.outcomes],
        }
