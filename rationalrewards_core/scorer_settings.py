"""How a scorer asks its judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .errors import ConfigError

MAX_SAMPLES: Final = 100


@dataclass(frozen=True, kw_only=True)
class ScorerSettings:
    """How the backend is asked."""

    temperature: float = 0.0
    """0 is repeatable; the paper samples at 0.1."""
    max_tokens: int = 2048
    """Limit of a full critique; a reply that reaches it is `truncated`."""
    guided: bool = True
    """Decode along the rubric's grammar where the backend can."""
    alternatives: int = 10
    """Token alternatives to ask for, from which `expected` and `spread` come; 0 turns both off."""
    ask_again: int = 1
    """How often an unreadable reply is asked for again, at temperature 0.5 and another seed."""
    samples: int = 0
    """Critiques sampled beside the one that is shown, over whose scores `expected` and `spread` are then taken; 0 takes none."""
    samples_temperature: float = 1.0
    """At which they are sampled, with the seeds 1, 2, ..."""
    max_failure_rate: float = 1.0
    """`score_many` stops with `FailureRateError` once more than this share of at least 20 cases failed."""

    def __post_init__(self) -> None:
        if self.ask_again < 0:
            raise ConfigError(f"ask_again must not be negative, not {self.ask_again}.")
        if self.samples != 0 and not 2 <= self.samples <= MAX_SAMPLES:
            raise ConfigError(f"samples must be 0, or 2 to {MAX_SAMPLES} to have a spread, not {self.samples}.")
        if not 0.0 < self.samples_temperature <= 2.0:
            raise ConfigError(f"samples_temperature must be above 0 and at most 2, not {self.samples_temperature}.")
        if not 0.0 <= self.max_failure_rate <= 1.0:
            raise ConfigError(f"max_failure_rate must be between 0 and 1, not {self.max_failure_rate}.")
