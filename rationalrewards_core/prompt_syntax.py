"""What in a generator's prompt is not prose: tags, weights, embeddings, wildcards, quoted text.

    a <lora:paper:0.8> poster, (red hat:1.2), embedding:fine_lines, __weather__, {dawn|dusk}, "OPEN"

A rewriting must carry these over letter by letter. Finding them is linear in the prompt's length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_TAG = r"<[A-Za-z_]\w{0,30}:[^<>\n]{1,200}>"
_EMBEDDING = r"\bembedding:[^\s,;()<>\[\]{}\"|]{1,200}(?<![.!?:])"
_WILDCARD = r"__[A-Za-z0-9.*/-]{1,60}(?:_[A-Za-z0-9.*/-]{1,60}){0,8}__"
_CHOICE = r"\{[^{}\n]{0,500}\|[^{}\n]{0,500}\}"
_COMMAND: Final = re.compile("|".join((_TAG, _EMBEDDING, _WILDCARD, _CHOICE)))
_QUOTED: Final = re.compile(r'"[^"\n]{1,200}"|“[^”\n]{1,200}”|«[^»\n]{1,200}»')
_SECTION: Final = re.compile(r"\bBREAK\b")
_WEIGHT: Final = re.compile(r":\s{0,3}[+-]?(?:\d{1,4}(?:\.\d{0,6})?|\.\d{1,6})\s{0,3}$")
_WEIGHTED: Final = re.compile(r"\(([^()]+?):[^:()]*\)")


@dataclass(frozen=True)
class Span:
    """Characters start..end of a text that stay as they are."""

    start: int
    end: int

    def overlaps(self, start: int, end: int) -> bool:
        return self.start < end and start < self.end


def fixed_spans(text: str) -> list[Span]:
    """Everything that is not prose, quoted text included; in order, overlapping finds joined."""
    found = [*_weighted(text), *_spans(_COMMAND, text), *_spans(_QUOTED, text)]
    joined: list[Span] = []
    for span in sorted(found, key=lambda span: (span.start, span.end)):
        if joined and span.start < joined[-1].end:
            joined[-1] = Span(joined[-1].start, max(span.end, joined[-1].end))
        else:
            joined.append(span)
    return joined


def fixed_terms(text: str) -> tuple[str, ...]:
    """The texts of `fixed_spans` that are no mere quotation, each once, in order."""
    found = (text[span.start : span.end] for span in fixed_spans(text))
    return tuple(dict.fromkeys(term for term in found if not _QUOTED.fullmatch(term)))


def commands(text: str) -> tuple[str, ...]:
    """Tags, embeddings, wildcards and choices: what makes a program load or choose something."""
    return tuple(dict.fromkeys(match.group() for match in _COMMAND.finditer(text)))


def without_terms(text: str, terms: tuple[str, ...]) -> str:
    """`text` with a bracket for each of `terms`, so that no words become neighbours; quotations left whole."""
    blanked = "|".join([f"({_QUOTED.pattern})", *map(re.escape, terms)])
    return re.sub(blanked, lambda match: match[1] or " ( ", text)


def without_halves(text: str, kept: tuple[str, ...]) -> str:
    """`text` without single quotation marks and the marks of commands outside `kept`: no neighbour can complete one."""
    whole = "|".join([*map(re.escape, kept), _QUOTED.pattern])
    return re.sub(f'({whole})|[<>{{}}"“”«»]|__+', lambda match: match[1] or " ", text)


def has_sections(text: str) -> bool:
    """Whether BREAK divides the prompt."""
    return _SECTION.search(text) is not None


def without_sections(text: str) -> str:
    return _SECTION.sub(" ", text)


def weighted_words(term: str) -> str:
    """`red hat` of `(red hat:1.2)`; empty if `term` is nothing so simple."""
    match = _WEIGHTED.fullmatch(term)
    return match[1].strip() if match else ""


def _spans(pattern: re.Pattern[str], text: str) -> list[Span]:
    return [Span(*match.span()) for match in pattern.finditer(text)]


def _weighted(text: str) -> list[Span]:
    """Outermost groups such as `(red hat:1.2)`; brackets after a backslash are letters."""
    found: list[Span] = []
    opened: list[int] = []
    for match in re.finditer(r"\\.|[()]", text):
        if match.group() == "(":
            opened.append(match.start())
        elif match.group() == ")" and opened:
            start = opened.pop()
            if _WEIGHT.search(text, max(start, match.start() - 20), match.start()):
                while found and found[-1].start > start:
                    found.pop()
                found.append(Span(start, match.end()))
    return found
