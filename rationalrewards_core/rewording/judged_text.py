"""The judge's text as a prompt may take it over: its words and quotations, and of prompt syntax only the user's own.

A judge may write words. It may not load a LoRA, weigh, schedule or place something, open a section, or pass on the
special tokens of its own chat format.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from .syntax import blanked, commands, fixed_spans, is_harmless, plain_words, without_comments

_NO_CHANGE: Final = re.compile(
    r"none(?: needed| required)?|na|n/a(?:\W.*)?|not applicable|unchanged|as is|\W+"
    r"|(?:the )?same(?: as (?:(?:the )?original(?: \w+)?|above|before))?"
    r"|no (?:further )?(?:change|refinement|revision|modification|edit)s? (?:is|are|was|were) (?:needed|necessary|required)\W.*"
    r"|(?:keep|use) the (?:original|same) (?:request|prompt)(?: unchanged| as is)?|\[your [^\]]*|your refined (?:request|prompt)(?: here)?"
    r"|no (?:further )?(?:change|refinement|revision|modification|edit|rewrite|rewriting)s?"
    r"(?: (?:is|are))?(?: (?:needed|necessary|required|made))?|无|不变|无需(?:修改|改动|更改)|没有变化"
)


def says_no_change(rewritten: str) -> bool:
    """Whether a judge's refined request is empty or only says that there is nothing to change."""
    words = " ".join(rewritten.casefold().split()).strip(" .。()（）[]*\"'“”")
    return not words or _NO_CHANGE.fullmatch(words) is not None


def without_foreign_syntax(rewritten: str, body: str) -> tuple[str, tuple[str, ...]]:
    """`rewritten` on one line without syntax that `body` does not have; and the commands that were left out.

    A term of the user's stays as often as the user wrote it. What is left reads the same when it is read again, so
    that nothing joined to it can complete a half of a mark.
    """
    text = " ".join(rewritten.split())
    body = without_comments(body)
    own = Counter({term: body.count(term) for span in fixed_spans(body) for term in (body[span.start : span.end],)})
    foreign = tuple(term for term in commands(text) if term not in own)
    for _ in range(2):  # words of a weight may hold syntax themselves
        text = _cleaned(text, own)
    if _cleaned(text, own) != text:
        text = _tidy(plain_words(blanked(text, fixed_spans(text))))
    return text.strip(" ,;"), foreign


def _cleaned(text: str, own: Counter[str]) -> str:
    left = own.copy()
    pieces, prose, place = [], "", 0
    for span in fixed_spans(text):
        term = text[span.start : span.end]
        prose += text[place : span.start]
        place = span.end
        if left[term] > 0 or is_harmless(term):
            left[term] -= 1
            pieces += [_tidy(plain_words(prose)), term]
            prose = ""
        else:
            prose += " " if commands(term) else f" {plain_words(term)} "
    return "".join([*pieces, _tidy(plain_words(prose + text[place:]))])


def _tidy(prose: str) -> str:
    """Single spaces, none before punctuation, and no comma behind a comma."""
    prose = re.sub(r"\s+([,;.])(?=\s|$)", r"\1", re.sub(r"\s+", " ", prose))
    return re.sub(r"[,;](?:\s*[,;])+", ",", prose)
