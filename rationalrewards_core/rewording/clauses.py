"""Clauses and words of a prompt: what a text says that another does not, and the same text in less room."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .syntax import Span, fixed_spans

_CLAUSE = re.compile(r"(?:[^,;.!?\n，；。！？]|[,;.!?](?=\S))*[,;.!?\n，；。！？]*\s*")
_DIVIDER = re.compile(r"[,;\n，；。！？]|[.!?](?=\s|$)")
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+(?:['’-][^\W_]+)*")
_FILLERS = frozenset(
    "a an and are as at be by for from has have in into is it its of on or so that the their there this to was with".split()  # noqa: SIM905
)


def clauses(text: str) -> list[str]:
    """Clauses without their punctuation; marks inside fixed text divide nothing."""
    fixed = fixed_spans(text)
    pieces, start = [], 0
    for match in _DIVIDER.finditer(text):
        if not any(span.overlaps(*match.span()) for span in fixed):
            pieces.append(text[start : match.start()])
            start = match.end()
    pieces.append(text[start:])
    return [stripped for piece in pieces if (stripped := piece.strip().removeprefix("and ").strip())]


def content_words(text: str) -> frozenset[str]:
    """Words that say something, folded."""
    return frozenset(word.casefold() for word in _WORD.findall(text)) - _FILLERS


def shortened(text: str, room: int, fixed: Sequence[Span]) -> str:
    """`text` without its last free clauses, then without its last free words, until it fits or only fixed text is left."""
    for pattern in (_CLAUSE, re.compile(r"\S+\s*|\s+")):
        pieces = [(m.start(), m.end()) for m in pattern.finditer(text) if m.end() > m.start()]
        free = [piece for piece in pieces if not any(span.overlaps(*piece) for span in fixed)]
        dropped: set[tuple[int, int]] = set()
        length = len(text)
        while free and length > room:
            piece = free.pop()
            dropped.add(piece)
            length -= piece[1] - piece[0]
        if dropped:
            rest = [piece for piece in pieces if piece not in dropped]
            fixed = [_moved(span, dropped) for span in fixed]
            text = "".join(text[start:end] for start, end in rest)
    return text.rstrip(" ,;")


def _moved(span: Span, dropped: set[tuple[int, int]]) -> Span:
    """Where a fixed span stands once pieces before it are gone."""
    removed_length = sum(end - start for start, end in dropped if end <= span.start)
    return Span(span.start - removed_length, span.end - removed_length)
