"""What a rewording keeps and how far it goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from ..errors import ConfigError
from ..limits import MAX_REQUEST_CHARACTERS

Style = Literal["full rewrite", "minimal change"]
STYLES: Final[tuple[Style, ...]] = get_args(Style)


@dataclass(frozen=True, kw_only=True)
class RewordingRules:
    """What a rewording keeps and how far it goes."""

    style: Style = "full rewrite"
    """`full rewrite`: the judge's text; `minimal change`: the prompt plus what is new in the judge's text."""
    trigger_words: tuple[str, ...] = ()
    """Words that a LoRA was trained on; those that the prompt has stay, in its spelling."""
    prefix: str = ""
    """What every reworded prompt begins with, exactly."""
    suffix: str = ""
    """What every reworded prompt ends with, exactly."""
    max_length: int = 1500
    """Characters of the reworded prompt at most; what is fixed is never cut for it."""

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise ConfigError(f"style must be one of {', '.join(STYLES)}, not {self.style!r}.")
        if not 1 <= self.max_length <= MAX_REQUEST_CHARACTERS:
            raise ConfigError(f"max_length must be between 1 and {MAX_REQUEST_CHARACTERS}, not {self.max_length}.")
