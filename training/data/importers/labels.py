"""What a label in a table of one's own means. It is never guessed: a spelling that could be read in two ways is refused."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from rationalrewards_core.comparison import Verdict
from rationalrewards_core.errors import ConfigError

_TIES: Final = dict.fromkeys(("tie", "draw", "both", "neither", "equal", "both bad", "both good"), Verdict.TIE)
_WORDS: Final[Mapping[str, Verdict]] = {
    **dict.fromkeys(("a", "first", "left", "image a", "image_a"), Verdict.A),
    **dict.fromkeys(("b", "second", "right", "image b", "image_b"), Verdict.B),
    **_TIES,
}
SPELLINGS: Final = "A, B or TIE; first, second, left, right, both, neither are taken too"


class Labels(Enum):
    """How the label of a pair is written."""

    WORDS = "words"
    """A, B, TIE and other words; numbers are refused."""
    INDEX = "index"
    """0 is the first image, 1 the second."""
    NUMBER = "number"
    """1 is the first image, 2 the second, 0 a tie."""
    WINNER = "winner"
    """The name of the better image, as it stands in its own column."""


_NUMBERS: Final[Mapping[Labels, Mapping[int, Verdict]]] = {
    Labels.INDEX: {0: Verdict.A, 1: Verdict.B},
    Labels.NUMBER: {0: Verdict.TIE, 1: Verdict.A, 2: Verdict.B},
}


def read_label(value: Any, labels: Labels, first: Any, second: Any, where: str) -> Verdict | None:
    """The preference that a label states; None if it is none that is known.

    ConfigError for one that could be read in two ways; it names `where` the label stands.
    """
    word = "" if value is None else " ".join(str(value).split()).casefold()
    if labels is Labels.WINNER and value is not None and (value == first) != (value == second):
        return Verdict.A if value == first else Verdict.B
    if labels is not Labels.WINNER and word in _WORDS:
        return _WORDS[word]
    if word in _TIES:
        return _TIES[word]
    if word == "none":  # what people write for neither, and programs for no answer
        place = f"{where}: " if where else ""
        raise ConfigError(
            f"{place}the label {value!r} can be read in two ways; write TIE, or nothing where there is none."
        )
    number = _number(word)
    if number is not None or isinstance(value, bool):
        if labels is Labels.WORDS:
            place = f"{where}: " if where else ""
            raise ConfigError(
                f"{place}the label {value!r} can be read in two ways; say --labels index (0 is the first image, 1 the "
                "second), --labels number (1 the first, 2 the second, 0 a tie) or --labels winner (the better image's "
                f"name), or write {SPELLINGS}."
            )
        if not isinstance(value, bool):
            return _NUMBERS.get(labels, {}).get(number if number is not None else -1)
    return None


def _number(word: str) -> int | None:
    """A whole number, also as `1.0`."""
    try:
        value = float(word)
    except ValueError:
        return None
    return int(value) if value.is_integer() else None
