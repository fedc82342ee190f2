"""Headings in a reply: the names a rubric gives, recognised at the start of a line however they are dressed up.

Bold, numbers, `#`, bullets, block quotes, full-width forms, `&` for `and` and invisible characters
make no difference. A name counts only where a colon or the end of the line follows it, so a sentence
that begins with one is no heading. A line is looked at over a bounded prefix, without backtracking.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from .spelling import plain

PREFIX: Final = 240
"""How many characters of a line are looked at for a heading."""

OVERALL: Final = (
    *("Overall", "Overall Quality", "Overall Assessment", "Overall Evaluation", "Overall Rating", "Overall Impression"),
    *("Total", "Average", "Mean", "Final", "Final Assessment", "Final Evaluation", "Final Rating", "Final Verdict"),
)
"""Headings, with or without `Score` after them, under which judges sum up all dimensions; no dimension's own score."""
CORRECTIONS: Final = (
    *("Final Score", "Revised Score", "Corrected Score", "Updated Score", "Adjusted Score", "New Score"),
    *("Revised Rating", "Corrected Rating", "Updated Rating", "Adjusted Rating", "New Rating", "Correction"),
    *("Score after deduction", "Score after deductions", "Score after penalty"),
)
"""Headings under which a judge takes a score back."""

_DECORATION: Final = re.compile(
    r"(?:[\s>]+|[-+*•·–](?=\s)|\#{1,6}|[*_`]{1,3}"  # quotes, bullets, headings, emphasis
    r"|\(?[0-9]{1,2}(?:[.:]?[)\]、]|[.:](?=\D|$))|[0-9]?\ufe0f?\u20e3"  # 1.  (1)  1、  and keycaps
    r"|[\u2600-\u27bf\u2b50\u2b55\ufe0f\U0001f300-\U0001faff])*"  # pictures
)
_NUMBER: Final = re.compile(r"([0-9]{1,2})[.):\]、\ufe0f\u20e3]")
_EMPHASIS: Final = re.compile(r"[*_`]{1,3}(?!\s)")
_BOLD_OR_HEADING: Final = re.compile(r"[#_`0-9]|\*(?!\s)")


@dataclass(frozen=True)
class Heading:
    """A line that opens something, or a numbered or `#` line whose name is unknown."""

    name: str
    """As it was given to `Headings`; empty if the line is none of those."""
    rest: str
    """What follows on the line; of an unknown name, the name too."""
    remark: str
    """Text in parentheses right after the name."""
    decorated: bool
    """Whether it carries a number, `#` or emphasis; bullets do not count."""
    number: int | None
    level: int
    """How many `#` it has."""


class Headings:
    """Recognises the given names."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = sorted(names, key=len, reverse=True)
        choices = "|".join(f"({_name_pattern(name)})" for name in self._names)
        self._pattern = re.compile(
            rf"(?:{choices})(?:\s+score)?"
            r"(?P<closed>[\s*_`]*)(?:\((?P<remark>[^()]{0,60})\)(?P<closed_later>[\s*_`]*))?(?:[:=]|$)",
            re.IGNORECASE,
        )

    def match(self, line: str) -> Heading | None:
        """The heading this line is, if it is one."""
        head = plain(line[:PREFIX])
        decoration = _DECORATION.match(head)
        start = decoration.end() if decoration else 0
        dress = head[:start]
        match = self._pattern.match(head, start)
        if match is None or match.end() == PREFIX < len(line):
            rest = line[start:].strip()
            return _heading("", dress, rest, "") if rest and ("#" in dress or _NUMBER.search(dress)) else None
        name = next(name for index, name in enumerate(self._names, 1) if match[index] is not None)
        rest = line[match.end() :].strip()
        opened = _EMPHASIS.findall(dress)
        if opened and not (match["closed"] + (match["closed_later"] or "")).strip():
            rest = _unmarked(rest, opened[-1])
        return _heading(name, dress, rest, (match["remark"] or "").strip())


def _heading(name: str, dress: str, rest: str, remark: str) -> Heading:
    numbers = _NUMBER.findall(dress)
    return Heading(
        name=name,
        rest=rest,
        remark=remark,
        decorated=bool(_BOLD_OR_HEADING.search(dress)),
        number=int(numbers[-1]) if numbers else None,
        level=dress.count("#"),
    )


def _name_pattern(name: str) -> str:
    return r"\s{1,3}".join(_word_pattern(word) for word in plain(name).split())


def _word_pattern(word: str) -> str:
    if word.casefold() in ("and", "&"):
        return "(?:and|&)"
    return re.sub("judgement", "judge?ment", re.escape(word), flags=re.IGNORECASE)


def _unmarked(rest: str, mark: str) -> str:
    """Without the mark that ends an emphasis begun before the heading."""
    if rest.startswith(mark):
        return rest[len(mark) :].lstrip()
    return rest[: -len(mark)].rstrip() if rest.endswith(mark) else rest
