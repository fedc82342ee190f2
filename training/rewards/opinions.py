"""What a judge said of a pair. A failure is an opinion without a verdict: it stays, with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rationalrewards_core.comparison import Verdict, verdict_of_rewards
from rationalrewards_core.numerals import number_pair

SAME = 1e-9
"""Rewards closer than this are equal: they differ by rounding only."""


@dataclass(frozen=True, kw_only=True)
class Opinion:
    """One judge on one pair, with the label it is compared to."""

    key: str
    """Key of the pair."""
    request_id: str
    """What pairs of one request share: they are resampled together."""
    label: Verdict
    """What people preferred."""
    verdict: Verdict | None
    """What the judge prefers; None if it failed."""
    rewards: tuple[float, float] | None = None
    """Rewards of A and B where the judge gives numbers."""
    forward: Verdict | None = None
    """Verdict when A was shown first; None for judges that see one image at a time."""
    backward: Verdict | None = None
    """Verdict when B was shown first, in terms of A and B."""
    scores: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    """Dimension key -> scores of A and B; None is N/A."""
    ratings: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Dimension key -> what people gave A and B."""
    reason: str = ""
    """Why there is no verdict."""

    @property
    def kept(self) -> bool:
        """What the job runner counts by."""
        return self.verdict is not None

    def to_json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "request_id": self.request_id,
            "label": self.label.value,
            "verdict": _name(self.verdict),
            "rewards": None if self.rewards is None else list(self.rewards),
            "forward": _name(self.forward),
            "backward": _name(self.backward),
            "scores": {key: list(pair) for key, pair in self.scores.items()},
            "ratings": {key: list(pair) for key, pair in self.ratings.items()},
            "reason": self.reason,
        }

    def with_margin(self, margin: float) -> Verdict | None:
        """The verdict if rewards within `margin` are a tie; the judge's own where it gives no rewards."""
        return self.verdict if self.rewards is None else verdict_of_rewards(*self.rewards, margin=max(margin, SAME))


def opinion_from_json(table: Mapping[str, Any]) -> Opinion:
    """The inverse of `Opinion.to_json`; a missing key is a KeyError, a reward that is no number a ValueError."""
    return Opinion(
        key=table["key"],
        request_id=table["request_id"],
        label=Verdict(table["label"]),
        verdict=_verdict(table["verdict"]),
        rewards=None if table["rewards"] is None else number_pair(table["rewards"]),
        forward=_verdict(table["forward"]),
        backward=_verdict(table["backward"]),
        scores={key: (pair[0], pair[1]) for key, pair in table["scores"].items()},
        ratings={key: number_pair(both) for key, both in table["ratings"].items()},
        reason=table["reason"],
    )


def _name(verdict: Verdict | None) -> str | None:
    return None if verdict is None else verdict.value


def _verdict(name: str | None) -> Verdict | None:
    return None if name is None else Verdict(name)
