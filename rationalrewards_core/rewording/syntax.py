"""What in a generator's prompt is not prose: tags, weights, embeddings, wildcards, steps, colours, quoted text.

    a <lora:paper:0.8> poster, (red hat:1.2), embedding:fine_lines, __weather__, {dawn|dusk}, [a:b:0.5], "OPEN"
    (red hat)++, hat--, {{red hat}}, 1.3::red hat::, fox::2 snow::1, %style%, $season, --ar 16:9 --no text, logo

A rewriting must carry these over letter by letter. Finding them is linear in the prompt's length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from ..quotation import INCHES, LETTER, QUOTED, STRAY

_TAG = r"<[A-Za-z_][\w-]{0,60}(?::[^<>\n]{1,200})?>"
"""`<lora:paper:0.8>`, `<segment:face,0.5>`, and a learned token such as `<s0>`."""
_EMBEDDING = r"\bembedding:[^\s,;()<>\[\]{}\"|]{1,200}(?<![.!?:])"
_WILDCARD = rf"(?<!{LETTER})__(?:[^\W_]|[.*/~@-]){{1,60}}(?:_(?:[^\W_]|[.*/~@-]){{1,60}}){{0,8}}__"
_CALL = r"\b[A-Z][A-Z_]{1,30}\([^()\n]{0,200}\)"
"""A region or mask of a prompt-control pack: `REGION(0 0 0.5 1)`."""
_VARIABLE = r"%[A-Za-z_][\w.-]{0,60}%|(?<![\w$])\$[A-Za-z_]\w{0,60}"
_OPTION = (
    r"(?<!\S)--(?:no\s[^\n]*?(?=\s+--[a-z]|\s*(?:\n|\Z))"
    r"|[a-z][a-z-]{0,30}(?:[ =](?:\d[\w.:%]*|https?://\S+|[\w.:-]+(?=\s*(?:\n|\Z|\s--[a-z]))))?)"
)
"""An option behind a prompt: `--ar 16:9`, `--tile`, `--no text, logo`."""
_NEGATIVE = r"\b(?:Negative prompt\s?:|Steps: \d{1,4}, Sampler:)(?s:.*)"
"""What some programs keep behind a prompt, to its end."""
_COMMAND: Final = re.compile("|".join((_TAG, _EMBEDDING, _WILDCARD, _CALL, _VARIABLE, _OPTION, _NEGATIVE)))
_COLOUR = r"(?<![\w&])#(?:[0-9A-Fa-f]{8}|[0-9A-Fa-f]{6}|(?=\d{0,2}[A-Fa-f])[0-9A-Fa-f]{3})(?!\w)"
_GRADE = r"\bscore_\d{1,2}(?:_up)?\b"
"""The quality tags that some models were trained with: `score_9`, `score_8_up`."""
_TAG_WORD = r"[^\s,\\()<>|\[\]{}\"]{1,40}"
_NAMED_TAG = rf"(?<![^\s,])(?:{_TAG_WORD}\s){{0,2}}{_TAG_WORD}\s?\\\([^,\n()\\<>|]{{1,80}}\\\)"
"""A tag whose brackets are escaped, which belong to its name: `hatsune miku \\(vocaloid\\)`."""
_MENTION = r"(?<![\w.@])@[A-Za-z_]\w{1,60}"
_WORD: Final = re.compile("|".join((_COLOUR, _GRADE, _NAMED_TAG, _MENTION)))
_SECTION: Final = re.compile(rf"\b(?:BREAK|AND|ADDBASE|ADDCOMM|ADDCOL|ADDROW|COUPLE)\b|{_CALL}")
_COMMENT: Final = re.compile(rf"({QUOTED.pattern})|/\*(?s:.{{0,2000}}?)\*/|(?<![:/])//[^\n]*|(?m:^[^\S\n]*#\s[^\n]*\n)")
_BEHIND: Final = re.compile(f"{_OPTION}|{_NEGATIVE}")
_LINE_COMMENT: Final = re.compile(r"\s{0,20}(?<![:/])//.*")
_NUMBER = r"\s{0,3}[+-]?(?:\d{1,4}(?:\.\d{0,6})?|\.\d{1,6})\s{0,3}"
_WEIGHT: Final = re.compile(rf":{_NUMBER}$")
_SECTION_WEIGHT: Final = re.compile(rf"\s:{_NUMBER}$|\s?::{_NUMBER}$")
_STEP: Final = re.compile(rf"\[[^\[\]\n]{{0,200}}:{_NUMBER}\]|\[[^\[\]\n]{{0,200}}\|")
"""`[from:to:0.5]`, `[from::10]`, `[a|b]`: what changes while a picture is drawn."""
_SIGNS = r"\+{1,8}(?![\w+-])|-{1,8}(?![\w+-])|(?:\d{1,2}(?:\.\d{1,3})?|\.\d{1,3})(?![\w.])"
_AFTER_GROUP: Final = re.compile(rf"{_SIGNS}|\.(?:and|blend|swap)\([^()\n]{{0,200}}\)")
"""What weighs the group before it: `(red hat)++`, `(red hat)1.3`, `("a fox", "a cat").blend(0.7, 0.3)`."""
_SIGNED: Final = re.compile(r"(?<![\w+'’-])[^\W_]+(?:['’-][^\W_]+)*(?:\+{1,8}|-{2,8})(?![\w+-])")
"""A word with weights of its own: `hat++`, `hat--`."""
_FENCED: Final = re.compile(r"(?<![\w:.])-?\d{1,2}(?:\.\d{1,3})?::[^:\n]{1,200}::")
"""`1.3::red hat::`."""
_PART: Final = re.compile(r"(?<=[^\s:])\s?::(?:-?\d{1,3}(?:\.\d{1,3})?)?(?=[\s,]|\Z)")
"""What divides a prompt into weighted parts: `fox::2 snow::1`."""
_WEIGHTED: Final = re.compile(
    rf"\(([^()]+?):[^:()]*\)(?:{_SIGNS})?|\(\(([^()]+)\)\)|\[([^\[\]|:]+)\]|\(([^()]+)\)(?:{_SIGNS})"
    r"|\{{1,8}([^{}|]+)\}{1,8}|-?[\d.]{1,6}::([^:]+)::|([^\s()]+?)(?:\+{1,8}|-{2,8})"
)
"""A weight around plain words, which are its first group that is filled."""
_TOKEN: Final = re.compile(
    r"<[|｜][^\s|｜<>]{0,60}[|｜]?>?|[|｜][^\s|｜<>]{1,60}[|｜]>|</?(?![\s<>])[^<>\n]{0,200}(?<!\s)>|\[/?[A-Z][A-Z_]+\]"
)
"""Special tokens of chat formats and marks of reply formats, whole or cut off."""
_BRACKET_WEIGHT: Final = re.compile(rf":{_NUMBER}(?=[)\]])")
_SINGLE: Final = re.compile(
    rf"[<>{{}}()\[\]|\\{re.escape(''.join(sorted(STRAY - {INCHES})))}]|(?<!\d){INCHES}|__+|/\*|\*/|//+|\*+|(?:^|(?<=\s))#+(?=\s)"
)
"""What is no prose where it stands alone."""


@dataclass(frozen=True)
class Span:
    """Characters start..end of a text that stay as they are."""

    start: int
    end: int

    def overlaps(self, start: int, end: int) -> bool:
        return self.start < end and start < self.end


def fixed_spans(text: str) -> list[Span]:
    """Everything that is not prose, quoted text included; in order, overlapping ones joined."""
    weighted = [*_emphasised(text), *_spans(_SIGNED, text), *_spans(_FENCED, text)]
    return joined([*_command_spans(text), *weighted, *_spans(_WORD, text), *_spans(QUOTED, text)])


def fixed_terms(text: str) -> tuple[str, ...]:
    """The texts of `fixed_spans` that are no mere quotation, each once, in order."""
    terms = (text[span.start : span.end] for span in fixed_spans(text))
    return tuple(dict.fromkeys(term for term in terms if not is_quotation(term)))


def is_quotation(term: str) -> bool:
    return QUOTED.fullmatch(term) is not None


def is_harmless(term: str) -> bool:
    """Whether a fixed term may come from anybody: a colour, a name with brackets, a quotation of words alone."""
    if _WORD.fullmatch(term):
        return True
    words = term[1:-1]
    return is_quotation(term) and not fixed_terms(words) and not _TOKEN.search(words)


def commands(text: str) -> tuple[str, ...]:
    """Tags, embeddings, wildcards, choices, steps, regions: what makes a program load, choose or place something."""
    return tuple(dict.fromkeys(text[span.start : span.end] for span in _command_spans(text)))


def blanked(text: str, spans: Iterable[Span]) -> str:
    """`text` with a bracket for each span, so that no words become neighbours."""
    pieces, place = [], 0
    for span in spans:
        pieces += [text[place : span.start], " ( "]
        place = span.end
    return "".join([*pieces, text[place:]])


def plain_words(text: str) -> str:
    """Prose without marks of prompt syntax, quotation marks that stand alone, and chat tokens; its words stay."""
    text = _BRACKET_WEIGHT.sub(" ", _TOKEN.sub(" ", text))
    text = _PART.sub(" ", _FENCED.sub(lambda match: f" {weighted_words(match.group())} ", text))
    text = _SIGNED.sub(lambda match: match.group().rstrip("+-"), text)
    text = _SECTION.sub(lambda match: "and" if match.group() == "AND" else " ", text)
    return _SINGLE.sub(" ", text)


def has_sections(text: str) -> bool:
    """Whether BREAK, AND, a region, `::` or the like divides the prompt; in a prompt in capitals they are words."""
    fixed = fixed_spans(text)
    if any(not any(f.overlaps(*match.span()) for f in fixed) for match in _PART.finditer(text)):
        return True
    if text.isupper():
        return False
    quoted = _spans(QUOTED, text)
    return any(not any(q.overlaps(*match.span()) for q in quoted) for match in _SECTION.finditer(text))


def is_structured(text: str) -> bool:
    """Whether the prompt is JSON, which prose in it or behind it would break."""
    if not text.startswith(("{", "[")):
        return False
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return re.match(r"\{\s*[\"'“]?[\w -]{1,60}[\"'”]?\s*:", text) is not None and text.endswith("}")


def without_comments(text: str) -> str:
    """`text` without `// ...`, `/* ... */` and lines that begin with `# `, which generators drop."""
    return _COMMENT.sub(lambda match: match[1] or " ", text).strip()


def parted(text: str) -> tuple[str, str]:
    """`text` without its options (`--ar 16:9`) and negative prompt; and those, each with the space before it."""
    words, behind, place = "", "", 0
    for span in fixed_spans(text):
        if _BEHIND.fullmatch(text, span.start, span.end):
            before = text[place : span.start]
            words += before.rstrip()
            behind += ("\n" if "\n" in before[len(before.rstrip()) :] else " ") + text[span.start : span.end]
            place = span.end
    return words + text[place:], behind.rstrip()


def has_negative(text: str) -> bool:
    """Whether options end in a negative prompt, which goes on to the end of the text."""
    return re.search(_NEGATIVE, text) is not None


def tail(text: str) -> str:
    """What has to stay last in a prompt without options: a comment to the end of the line, the last section's weight."""
    match = _LINE_COMMENT.search(text, text.rfind("\n") + 1)
    if match is None and has_sections(text):
        match = _SECTION_WEIGHT.search(text, max(0, len(text) - 20))
    return match.group() if match else ""


def weighted_words(term: str) -> str:
    """`red hat` of `(red hat:1.2)`, `((red hat))` or `[red hat]`; empty if `term` is nothing so simple."""
    match = _WEIGHTED.fullmatch(term)
    return next(words for words in match.groups() if words).strip() if match else ""


def _spans(pattern: re.Pattern[str], text: str) -> list[Span]:
    return [Span(*match.span()) for match in pattern.finditer(text)]


def joined(spans: Iterable[Span]) -> list[Span]:
    """The spans in order, overlapping ones as one."""
    whole: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, span.end)):
        if whole and span.start < whole[-1].end:
            whole[-1] = Span(whole[-1].start, max(span.end, whole[-1].end))
        else:
            whole.append(span)
    return whole


def _command_spans(text: str) -> list[Span]:
    choices = [_with_dollar(text, span) for span in _groups(text, "{}") if _is_choice(text, span)]
    steps = [span for span in _groups(text, "[]") if _STEP.match(text, span.start, span.end)]
    return joined([*_spans(_COMMAND, text), *choices, *steps])


def _emphasised(text: str) -> list[Span]:
    """Groups such as `(red hat:1.2)`, `((red hat))`, `[red hat]`, and `(red hat)` between two commas."""
    weighted = [
        span
        for span in _groups(text, "()")
        if _WEIGHT.search(text, max(span.start, span.end - 21), span.end - 1)
        or (text.startswith("((", span.start) and text.endswith("))", 0, span.end))
        or _is_alone(text, span)
    ]
    weighted += [
        Span(span.start, match.end())
        for span in [*_groups(text, "()"), *_spans(QUOTED, text)]
        if (match := _AFTER_GROUP.match(text, span.end))
    ]
    others = (span for brackets in ("[]", "{}") for span in _groups(text, brackets) if span.end - span.start > 2)
    return [*weighted, *others]


def _is_choice(text: str, span: Span) -> bool:
    return "|" in text[span.start : span.end] or _with_dollar(text, span) != span


def _with_dollar(text: str, span: Span) -> Span:
    """A variable such as `${season}` is more than its braces."""
    return Span(span.start - 1, span.end) if span.start and text[span.start - 1] == "$" else span


def _is_alone(text: str, span: Span) -> bool:
    before, after = text[max(0, span.start - 20) : span.start].rstrip(" "), text[span.end : span.end + 20].lstrip(" ")
    return before[-1:] in ("", ",", "\n") and after[:1] in ("", ",", ";", "\n")


def _groups(text: str, brackets: str) -> Iterator[Span]:
    """Balanced pairs of brackets, inner ones first; brackets after a backslash are letters."""
    opened: list[int] = []
    for match in re.finditer(r"\\.|[{}]".replace("{}", re.escape(brackets)), text):
        if match.group() == brackets[0]:
            opened.append(match.start())
        elif match.group() == brackets[1] and opened:
            yield Span(opened.pop(), match.end())
