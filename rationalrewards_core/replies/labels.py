"""Lines that name something without being a heading of the rubric: whatever is scored below them is not the dimension's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ..headings import PREFIX, Heading
from ..rubric import MAX_TITLE_CHARACTERS
from ..spelling import plain

_SENTENCE_MARK: Final = re.compile(r"[.,;!?。，；！？…]")
_LABEL: Final = re.compile(r"[*_`]{0,3}[^\W\d_][^.,;!?。，；！？…:]{0,79}[*_`]{0,3}:?[*_`]{0,3}")
_FEW_WORDS: Final = re.compile(
    r"[-*+•\s]{0,4}[*_`]{0,3}[^\W\d_][^\s.,;!?。，；！？…:：]*(?:\s[^\s.,;!?。，；！？…:：]+){0,2}[:：]?"
)


def stands_alone(line: str, heading: Heading | None) -> bool:
    """Whether a line is a label and nothing else: `Overall:`, `**Aesthetics**`, `## Composition`."""
    label = (heading.rest if heading is not None else line).strip("-+•·–> \t")
    if len(label) > PREFIX or _LABEL.fullmatch(plain(label)) is None:
        return False
    return (heading is not None and heading.level > 0) or _is_label(label)


def _is_label(line: str) -> bool:
    """Whether a line without its bullet or number is bold, or a title with a colon."""
    bare = plain(line).strip()
    bold = len(bare) > 4 and bare[0] in "*_" and bare[0] == bare[-1].replace(":", bare[0])
    titled = all(len(word) < 4 or not word[0].islower() for word in bare.split())  # `In detail:` opens a list
    return bold or (titled and bare.rstrip("*_`").endswith(":"))


def is_title(text: str) -> bool:
    """Whether what follows a heading's number or `#` may be another dimension's title: `Composition: ...`, `Composition`."""
    title, colon, _ = text[:PREFIX].partition(":")
    short = title[:1].isalpha() and len(title) <= MAX_TITLE_CHARACTERS and not _SENTENCE_MARK.search(title)
    return short and (bool(colon) or title == text)


def ends_in_a_name(text: Sequence[str]) -> bool:
    """Whether the last line before a score, after the end of a sentence, may name something else: `Composition`."""
    *before, last = [line for line in text if line] or [""]
    few = _FEW_WORDS.fullmatch(last) is not None
    label_like = last.endswith((":", "：")) or last.lstrip("-*+•_` ")[:1].isupper()
    return bool(before) and before[-1][-1] in ".!?。！？…" and few and label_like
