"""What was thought of an iteration, as a file: a judge that said something once is not asked again.

The rules of the loop are not in it: a new threshold or minimum looks at the same scores.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ...rationalrewards_core.critique import Critique, critique_from_json
from ...rationalrewards_core.errors import RationalRewardsError
from ...rationalrewards_core.messages import UserRequest
from ...rationalrewards_core.rubric_file import parse_rubric, rubric_to_toml
from ..sockets import Critiques

VERSION: Final = 1


@dataclass(frozen=True, kw_only=True)
class KeptJudgement:
    """The inputs of Loop Until Score beside the images, and the file that shows the picture."""

    critiques: tuple[Critiques, ...]
    rewards: tuple[float, ...] | None
    proposal: str | None
    preview: str

    @property
    def is_final(self) -> bool:
        """Whether everything was judged: a failure is tried again, and not kept."""
        outcomes = [outcome for critiques in self.critiques for outcome in critiques.outcomes]
        unscored = any(not isinstance(outcome, Critique) for outcome in outcomes)
        return not unscored and not any(math.isnan(value) for value in self.rewards or ())

    def to_text(self) -> str:
        rows = [
            {
                "request": critiques.request.text,
                "rubric": rubric_to_toml(critiques.rubric),
                "outcomes": [outcome.to_json() for outcome in critiques.outcomes],
                "notes": list(critiques.notes),
            }
            for critiques in self.critiques
        ]
        rewards = None if self.rewards is None else list(self.rewards)
        table = {"version": VERSION, "critiques": rows, "rewards": rewards}
        return json.dumps({**table, "proposal": self.proposal, "shown": self.preview}, ensure_ascii=False)


def judgement_file(key: str) -> str:
    return f"judged_{key}.json"


def kept_judgement(text: str | None) -> KeptJudgement | None:
    """What a file says; None if there is none, or of another version."""
    if text is None:
        return None
    try:
        table = json.loads(text)
        if table["version"] != VERSION:
            return None
        rewards = table["rewards"]
        return KeptJudgement(
            critiques=tuple(_critiques(row) for row in table["critiques"]),
            rewards=None if rewards is None else tuple(map(float, rewards)),
            proposal=table["proposal"],
            preview=str(table["shown"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RationalRewardsError):
        return None


def _critiques(row: dict[str, Any]) -> Critiques:
    return Critiques(
        request=UserRequest(row["request"]),
        rubric=parse_rubric(row["rubric"], "kept rubric"),
        outcomes=tuple(critique_from_json(outcome) for outcome in row["outcomes"]),
        notes=tuple(row["notes"]),
    )


def judgement_of(
    critiques: Sequence[Critiques], rewards: Sequence[float] | None, proposal: str | None, preview: str
) -> KeptJudgement:
    return KeptJudgement(
        critiques=tuple(critiques),
        rewards=None if rewards is None else tuple(rewards),
        proposal=proposal,
        preview=preview,
    )
