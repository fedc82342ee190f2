"""What a job may spend on questions to a model."""

from __future__ import annotations

from dataclasses import dataclass

from rationalrewards_core.errors import ConfigError, RationalRewardsError


class BudgetSpent(RationalRewardsError):
    """The run has used what it was allowed to; everything finished is kept."""

    reason = "budget"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What one run of a stage may spend. Questions under way are finished, so it may be passed by those."""

    requests: int | None = None
    """Questions to the teacher, asking again included; None sets no limit."""
    tokens: int | None = None
    """Tokens read and written; None sets no limit."""

    def __post_init__(self) -> None:
        for option, value in (("--max-requests", self.requests), ("--max-spend-tokens", self.tokens)):
            if value is not None and value < 1:
                raise ConfigError(f"{option} must be at least 1, not {value}.")
