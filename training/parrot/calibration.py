"""Whether the two absolute critiques of a pair agree with its preference: the calibration of the projection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from rationalrewards_core.comparison import Verdict
from rationalrewards_core.critique import Critique
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.reward import reward
from rationalrewards_core.rubric import Rubric

from .records import Projection, Side
from .run import Rubrics

CALIBRATED: Final = frozenset({"parrot", "own"})
"""Arms whose critiques must agree with the label."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What two critiques of one pair must satisfy."""

    margin: float = 0.02
    """Reward by which the preferred candidate must lead."""
    tie_margin: float = 0.25
    """Reward by which the candidates of a tie may differ at most."""

    def __post_init__(self) -> None:
        if not (0 <= self.margin < 1 and 0 <= self.tie_margin <= 1):
            raise ConfigError("margin must be from 0 to below 1, tie_margin from 0 to 1.")

    def problem(self, preference: Verdict, reward_a: float, reward_b: float) -> str:
        """Reason code of why a pair is not calibrated; empty if it is."""
        lead = reward_a - reward_b
        if preference is Verdict.TIE:
            return "tie_apart" if abs(lead) > self.tie_margin else ""
        lead = lead if preference is Verdict.A else -lead
        if lead < 0:
            return "wrong_order"
        return "too_close" if lead < self.margin or lead == 0 else ""


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What became of a pair in stage 3."""

    origin: str
    reason: str
    """Empty if both critiques are kept."""


def fates(projections: Iterable[Projection], rubrics: Rubrics, calibration: Calibration | None) -> Mapping[str, Fate]:
    """Pair key -> fate; `calibration` None judges each critique by itself and drops no pair for its order.

    A pair needs both of its critiques: one alone would say how good an image is without ever being held against
    what people said.
    """
    rewards: dict[str, dict[Side, float]] = {}
    reasons: dict[str, str] = {}
    origins: dict[str, tuple[str, Verdict]] = {}
    for record in projections:
        key = record.pair.key
        origins[key] = record.pair.origin, record.pair.preference
        if record.critique is None or not record.kept:
            reasons[key] = record.reason
        else:
            rubric = rubrics.student(record.pair.kind)
            _check_rubric(record.critique, rubric)
            rewards.setdefault(key, {})[record.side] = reward(record.critique, rubric)
    table: dict[str, Fate] = {}
    for key, (origin, preference) in origins.items():
        reason, rewards_of_key = reasons.get(key, ""), rewards.get(key, {})
        if not reason and len(rewards_of_key) < 2:
            reason = "one_sided"
        if not reason and calibration is not None:
            reason = calibration.problem(preference, rewards_of_key["A"], rewards_of_key["B"])
        table[key] = Fate(origin=origin, reason=reason)
    return table


def _check_rubric(critique: Critique, rubric: Rubric) -> None:
    """ConfigError if a critique does not fit the rubric: it was made under one with other dimensions or scale."""
    scores = critique.scores
    same = list(scores) == [dimension.key for dimension in rubric.dimensions]
    if not same or not all(score is None or rubric.scale.contains(score) for score in scores.values()):
        raise ConfigError(
            f"The critiques were not made under dimensions and scale of rubric {rubric.name!r}; give theirs by --rubric."
        )
