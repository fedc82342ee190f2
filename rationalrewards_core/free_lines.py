"""Lines that are free: whatever a reply's texts may hold without being taken for a heading, as grammar rules.

A heading is a name of the reply's layout, however it is dressed up, with a colon or the end of the line
after it (`headings`). So a line is free as soon as it leaves every name: `Score` is followed letter by
letter, and at `Scores`, `Scaffold` or `Score of the` the rest of the line may hold anything. A grammar has
no way to say "not these names", so the names are spelled out as one tree and the rules are its complement.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from .spelling import plain

SPACES: Final = r" \t\u000b\u000c\u001c-\u001f\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""White space other than line breaks, inside a character class."""
_GAP: Final = r" \t\u000b\u000c\u001c-\u001f\u0085\u00a0\u00ad\u1680\u2000-\u200f\u2028-\u202f\u205f-\u2069\u3000\ufeff"
"""White space, and the invisible characters that `spelling.plain` takes for it."""
_CLOSERS: Final = r"*_`"
_NUMBER_MARKS: Final = r".):\u005d、．）：］\ufe0f\u20e3"
_MARKS: Final = rf"{_GAP}>+•·–\u002d({_CLOSERS}{_NUMBER_MARKS}＞＋－（＊＿｀☀-➿⭐⭕🌀-🫿"
"""What can stand before a heading's name, its number and `#` aside."""
_DIGITS: Final = "0-9０-９"
_ODD: Final = "！-～ſİıK"
"""Letters of other widths and cases than a name is spelled with; where one would have to be told apart, none is free."""
_ENDS: Final = ".!?。！？…"


def free_line_rules(names: Iterable[str]) -> list[str]:
    """Rules `line` and `evidence`: a line of any text, and one inside a dimension's justification.

    In evidence a line must not look like the heading of a further dimension either: no label alone (`Overall:`),
    nothing in bold alone, no number but those of a list that begins with 1 (`item`).
    """
    spelled = sorted({variant for name in names for variant in _variants(name)})
    tree = _Node()
    for variant in spelled:
        tree.add(variant)
    numbered = f"[{_DIGITS}]+ [{_NUMBER_MARKS}]"
    return [
        f"line ::= (mark | [{_DIGITS}])* opening rest | (mark | [{_DIGITS}])+ | sentence",
        f"evidence ::= mark* opening ending | mark+ | sentence{_quantity(spelled)}",
        f"item ::= mark* {numbered} mark* opening ending",
        r"rest ::= [^\n\r]*",
        rf"ending ::= [^\n\r]* ([^\n\r:=：＝＊＿｀{_CLOSERS}{_GAP}] | [{_ENDS}] [{_CLOSERS}]+) [ \t]*",
        rf"sentence ::= [^\n\r:=：＝]* [{_ENDS}]",
        f"mark ::= [{_MARKS}]",
        f"gap ::= [{_GAP}]+",
        rf"after ::= [^\n\r{_AFTER_NAME}] | gap [^\n\r{_AFTER_NAME}Ss]",
        f"opening ::= {tree.ways_out(_MARKS + _DIGITS + '#<')}",
    ]


_AFTER_NAME: Final = f"{_CLOSERS}(:={_GAP}{_ODD}"
"""What keeps a name a heading; with a space before it, `score` does too."""


def _quantity(names: list[str]) -> str:
    """A line of evidence that begins with a number that is no list's: `3 marbles: one blue`, `16:9`."""
    if any(name[:1].isdigit() for name in names):
        return ""
    number = f"[{_DIGITS}]+"
    return rf" | mark* {number} ([^\n\r{_DIGITS}{_NUMBER_MARKS}] ending | [{_NUMBER_MARKS}] [{_DIGITS}] ending?)"


def _variants(name: str) -> set[str]:
    """The spellings of a heading that are more than another dress of the same letters."""
    variants = {""}
    for word in plain(name).split():
        judging = re.fullmatch(r"(.*judg)e?(ment.*)", word, re.IGNORECASE)
        choices = ("and", "&") if word.casefold() in ("and", "&") else (word,)
        if judging:
            choices = (f"{judging[1]}{judging[2]}", f"{judging[1]}e{judging[2]}")
        variants = {f"{before} {choice}".strip() for before in variants for choice in choices}
    return variants | {variant.lstrip("0123456789") for variant in variants}  # its digits may be taken for a list's


class _Node:
    """One place in the tree of names."""

    def __init__(self) -> None:
        self._next: dict[str, _Node] = {}
        self._ends_name = False

    def add(self, name: str) -> None:
        node = self
        for letter in name:
            node = node._next.setdefault(_cases(letter), _Node())
        node._ends_name = True

    def ways_out(self, never: str = "") -> str:
        """What leads out of every name from here; `never` are characters that must not do so."""
        if self._ends_name and not self._next:
            return "after"
        further = dict(self._next)
        spaced = further.pop(" ", None)
        closing = _AFTER_NAME if self._ends_name else _ODD + (_GAP if spaced else "")
        ways = [rf"[^\n\r{never}{closing}{''.join(further)}]"]
        ways += [f"[{letter}] {node.ways_out()}" for letter, node in further.items()]
        if spaced:
            ways.append(f"gap {spaced.ways_out(_GAP + (_AFTER_NAME + 'Ss' if self._ends_name else ''))}")
        elif self._ends_name:
            ways.append(rf"gap [^\n\r{_AFTER_NAME}Ss]")
        return f"({' | '.join(ways)})"


def _cases(letter: str) -> str:
    """A letter of a name in upper and lower case, inside a character class."""
    cases = dict.fromkeys((letter.upper(), letter.lower(), letter, *_OTHER_CASES.get(letter.lower(), "")))
    return "".join(c if c.isalnum() or c == " " else f"\\u{ord(c):04x}" for c in cases if len(c) == 1)


_OTHER_CASES: Final = {"ß": "ẞ", "σ": "ς", "ς": "σ", "µ": "μ", "μ": "µ"}
"""Letters that more than two characters are read as; those of Latin's own are among the odd ones."""
