"""What a rewriting must not lose beside prompt syntax: quoted text, and names.

    A sign saying "OPEN 24h" before the Eiffel Tower     ->  "OPEN 24h" and Eiffel Tower

Names are the capitalised words that do not open a sentence. Where capitals say nothing (titles, prompts in capitals,
German, which writes every noun with one) there are none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ..quotation import LETTER, MARKS, quotations
from .syntax import Span, blanked, fixed_spans, without_comments

_WORD: Final = re.compile(rf"(?<!{LETTER})(?<!_)(?!\d){LETTER}+(?:['’-]{LETTER}+)*(?!{LETTER}|_)")
_NAME: Final = re.compile(rf"{_WORD.pattern}(?:\s+{_WORD.pattern})*")
_LINKS: Final = frozenset({"of", "de", "da", "di", "del", "la", "van", "von", "der", "den"})
"""Words in lower case that stand inside names."""
MOST_LINKS: Final = 2
_GERMAN: Final = frozenset(
    "ein eine einem einen einer eines der das dem des und mit auf im am zum zur vom ist für über vor bei aus nach ohne neben hinter zwischen".split()  # noqa: SIM905
)
_ENGLISH: Final = frozenset("a the of with and on at by from is are to in for".split())  # noqa: SIM905
_APPENDED: Final = re.compile(r"; keep ([^;]+)\Z")
_OPENERS: Final = "".join(opening for opening, _ in MARKS) + "([{"


def kept_terms(request: str) -> tuple[str, ...]:
    """Quotations with their marks, then names; each once, in order."""
    request = without_comments(request)
    quoted = [request[q.start : q.end] for q in quotations(request)]
    return tuple(dict.fromkeys([*quoted, *_names(request)]))


def with_kept_terms(original: str, rewritten: str) -> str:
    """`rewritten`, with the terms of `original` it lost appended."""
    lost = lost_terms(original, rewritten)
    return f"{rewritten.rstrip('. ')}; keep {', '.join(lost)}" if lost else rewritten


def lost_terms(original: str, rewritten: str) -> list[str]:
    """The kept terms of `original` that `rewritten` lacks. Quoted text is there in whatever marks, a name in any case."""
    quoted = {q.words for q in quotations(rewritten)}
    folded = rewritten.casefold()
    lost = []
    for term in kept_terms(original):
        own = quotations(term)
        there = (
            own[0].words in quoted
            if own
            else re.search(rf"(?<!{LETTER}){re.escape(term.casefold())}(?!{LETTER})", folded)
        )
        if not there:
            lost.append(term)
    return lost


def _names(request: str) -> list[str]:
    prose = blanked(request, fixed_spans(request))
    words = list(_WORD.finditer(prose))
    names = [] if _says_nothing_by_capitals(prose, words) else _capitalised(prose, words)
    appended = _APPENDED.search(prose)
    listed = [] if appended is None else [name.strip() for name in appended[1].split(",")]
    return [*names, *(name for name in listed if name[:1].isupper() and _NAME.fullmatch(name))]


def _says_nothing_by_capitals(prose: str, words: Sequence[re.Match[str]]) -> bool:
    """Whether the text is a title, in capitals, or German."""
    capitals = sum(word[0][0].isupper() for word in words)
    others = len(words) - capitals + any(letter.isalpha() and letter.lower() == letter.upper() for letter in prose)
    if others == 0 or (capitals + others > 3 and capitals > 0.6 * (capitals + others)):
        return True
    folded = [word[0].casefold() for word in words]
    return sum(word in _GERMAN for word in folded) > sum(word in _ENGLISH for word in folded)


def _capitalised(prose: str, words: Sequence[re.Match[str]]) -> list[str]:
    """Runs of capitalised words; a sentence's first word is no evidence and does not belong to one."""
    runs: list[Span] = []
    open_end, links = -1, 0
    for word in words:
        capital = word[0][0].isupper() and len(word[0]) > 1
        follows = open_end >= 0 and not prose[open_end : word.start()].strip()
        if capital and not opens_sentence(prose, word.start()):
            if follows:
                runs[-1] = Span(runs[-1].start, word.end())
            else:
                runs.append(Span(*word.span()))
            open_end, links = word.end(), 0
        elif follows and links < MOST_LINKS and word[0] in _LINKS:
            open_end, links = word.end(), links + 1
        else:
            open_end, links = -1, 0
    return [prose[run.start : run.end] for run in runs]


def opens_sentence(text: str, start: int) -> bool:
    """Whether the word at `start` is the first of a sentence."""
    before = text[max(0, start - 40) : start].rstrip(" \t" + _OPENERS)
    return not before or before[-1] in ".!?:;\n。！？；："
