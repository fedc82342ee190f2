"""A judge profile: how a judge that was trained on another prompt is asked, and where its reply says what it thinks.

A rubric with a `[profile]` table is a profile, so whatever takes a rubric takes one. Its question is one text with places
for the request and the pictures; the text is taken apart when it is read, never after it is filled, so that no request can
be mistaken for a place. Its answer is one value per dimension, or, of a judge that compares, the image that wins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from .errors import ConfigError

POINTWISE: Final = "pointwise"
PAIRWISE: Final = "pairwise"
PLACES: Final = {
    POINTWISE: frozenset({"request", "candidate"}),
    PAIRWISE: frozenset({"request", "first", "second"}),
}
"""What every question of its kind must hold once; that of an edit also holds `source`."""
_PLACE: Final = re.compile(r"\{(request|candidate|first|second|source)\}")


@dataclass(frozen=True, kw_only=True)
class JudgeProfile:
    """How one judge is asked and read."""

    about: str = ""
    """Which judge this is, and where its prompt was published."""
    method: str = POINTWISE
    """`pointwise` scores one image; `pairwise` says which of two is better, and gives no scores."""
    system: str = ""
    """System message; empty means no system message."""
    question: str = ""
    """The user's turn, with {request}, {candidate} (or {first} and {second}) and, for edits, {source} in their places."""
    form: str = "text"
    """`text`: the answer stands between `before` and `after`; `json`: it stands in the reply's JSON object."""
    before: str = ""
    """Text form: what stands right before a value; {title} is the dimension's title."""
    after: str = ""
    """Text form: what stands right after it; empty is the end of the line."""
    key: str = ""
    """JSON form: the name of the winner. Scores go by the dimensions' own keys."""
    reason: str = ""
    """JSON form: the name of the words that justify the answer, if there are any."""
    first: str = ""
    """What the judge answers when the first image wins."""
    second: str = ""
    """What it answers when the second one wins."""
    tie: str = ""
    """What it answers when neither does; empty if it must choose."""
    max_tokens: int = 0
    """Tokens that its longest reply may take, where that is more than is usual; 0 for no more."""

    def __post_init__(self) -> None:
        if self.method not in PLACES:
            raise ConfigError(f"profile.method must be pointwise or pairwise, not {self.method!r}.")
        if self.form not in ("text", "json"):
            raise ConfigError(f"profile.form must be text or json, not {self.form!r}.")
        if self.form == "text" and not self.before.strip():
            raise ConfigError("profile.before must say what stands before the answer.")
        if not 0 <= self.max_tokens <= 1_000_000:
            raise ConfigError(f"profile.max_tokens must be from 0 to 1000000, not {self.max_tokens}.")
        if self.pairwise:
            self._check_answers()

    @property
    def pairwise(self) -> bool:
        return self.method == PAIRWISE

    def check(self, *, edit: bool, dimensions: int) -> None:
        """ConfigError unless question and dimensions fit each other and the kind of request."""
        required = PLACES[self.method] | ({"source"} if edit else frozenset())
        places = _PLACE.findall(self.question)
        for name in sorted(required | set(places)):
            times = places.count(name)
            if name not in required:
                raise ConfigError(f"profile.question has {{{name}}}, which such a question has no use for.")
            if times != 1:
                raise ConfigError(f"profile.question must hold {{{name}}} once; it holds it {times} times.")
        if self.pairwise and dimensions != 1:
            raise ConfigError("A pairwise profile has one dimension, such as 'preference', on a scale from 0 to 1.")
        if not self.pairwise and dimensions > 1 and self.form == "text" and "{title}" not in self.before:
            raise ConfigError("profile.before must hold {title}: there are several dimensions to tell apart.")

    def filled(self, values: Mapping[str, Any]) -> list[Any]:
        """The question as parts: its own texts, and `values` (texts and pictures) in their places."""
        return [values[piece] if number % 2 else piece for number, piece in enumerate(self._pieces) if piece]

    @cached_property
    def _pieces(self) -> list[str]:
        """Texts and names of places, in turn."""
        return _PLACE.split(self.question)

    def _check_answers(self) -> None:
        if not self.first or not self.second:
            raise ConfigError("A pairwise profile needs profile.first and profile.second: what the judge answers.")
        answers = [answer.casefold() for answer in (self.first, self.second, self.tie) if answer]
        if len(set(answers)) < len(answers):
            raise ConfigError("profile.first, profile.second and profile.tie must differ.")
        if self.form == "json" and not self.key:
            raise ConfigError("profile.key must name the winner in the judge's JSON.")
