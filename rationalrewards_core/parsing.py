"""Reading a critique back from what a model wrote: tolerant of form, strict about meaning.

Accepted: headings in bold, numbered, with or without `#` or colon; the score before or after the
justification, on the next line, in bold, as `3,5`, `3.5/4` or `3.5 out of 4`; `n/a` in any spelling
with a remark; a refined request of many lines; preambles, code fences, a closed `<think>` block.

Never guessed: whatever could be read in two ways raises `CritiqueParseError` with one of `Reason`.
Headings count at the start of a line only, so text quoted inside a sentence changes nothing, and
a quoted heading on a line of its own ends in a conflict, never in another number.

Time is linear in the length of the text: every line is looked at once, patterns see a bounded prefix.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal

from .critique import Critique, Judgement, Refinement
from .errors import CritiqueParseError
from .rubric import (
    ANALYSIS,
    COMMENTS,
    JUDGEMENT,
    JUSTIFICATION,
    REFINED,
    REFINEMENT,
    SCORE,
    SUMMARY,
    Dimension,
    Rubric,
)

Mode = Literal["critique", "score"]
"""`critique` wants every section of the layout; `score` wants every score and lets the rest be missing."""


class Reason(str, Enum):
    """Why a reply is not a critique. The value is what reports and metrics count by."""

    EMPTY = "empty_reply"
    NO_JUDGEMENT = "no_judgement"
    """No dimension of the rubric is mentioned as a heading: a refusal, small talk, another format."""
    TRUNCATED = "truncated"
    """The reply ends before its last section."""
    MISSING_DIMENSION = "missing_dimension"
    MISSING_SCORE = "missing_score"
    UNREADABLE_SCORE = "unreadable_score"
    """A score line says something that is not one number: a range, a word, a percentage."""
    OUT_OF_SCALE = "score_out_of_scale"
    """A number outside the scale, or out of another total than the scale's."""
    NOT_OPTIONAL = "na_not_allowed"
    """N/A for a dimension that always applies."""
    CONFLICTING_SCORES = "conflicting_scores"
    """One dimension has two different scores."""
    OUT_OF_ORDER = "sections_out_of_order"
    """A section appears twice or judgement goes on after the summary: a quoted heading, a repeated reply."""


@dataclass(frozen=True)
class ScoreText:
    """What a score line says: a number, N/A, or neither (`problem` says why)."""

    value: float | None = None
    problem: Reason | None = None


def parse_critique(text: str, rubric: Rubric, mode: Mode = "critique") -> Critique:
    """Read a reply written under `rubric`. Raises `CritiqueParseError` with a `Reason` and the whole text."""
    return _Parser(text, rubric, mode).run()


_FULL_WIDTH: Final = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_DECORATION: Final = re.compile(r"(?:[\s>]+|#{1,6}|[*_`]{1,3}|\(?\d{1,2}[.):\]]\)?(?=\D|$)|[-+•](?=\s))")
_SEPARATOR: Final = re.compile(r"\s*(?:[-*_=]{3,}|```\w*)\s*$")
_PREFIX: Final = 240
"""How much of a line is looked at for a heading or a score."""

_NUMBER: Final = re.compile(
    r"(?P<number>[+-]?\d{1,9}(?:[.,]\d{1,9})?)"
    r"(?P<total>\s*(?:/|out\s+of)\s*(?P<of>\d{1,9}(?:[.,]\d{1,9})?))?"
    r"(?P<after>.*)",
    re.DOTALL | re.IGNORECASE,
)
_NOT_APPLICABLE: Final = re.compile(r"(?:n\s*[/\\]\s*a|n\.\s*a\.?|na|not[\s-]+applicable)(?![a-z0-9])", re.IGNORECASE)
_OPENERS: Final = "*_`\"'“‘([<{ \t"
_CLOSERS: Final = "*_`\"'”’)]>} \t"
_AMBIGUOUS_AFTER: Final = re.compile(r"\s*(?:\d|[.,:]\s?\d|[-–—~+]\s*\d|(?:to|or|and)\s+\d|[%±/⁄])", re.IGNORECASE)


def read_score(text: str, rubric: Rubric) -> ScoreText:
    """Read what follows `Score:`: exactly one number on the rubric's scale, or N/A, with an optional remark."""
    body = text[:_PREFIX].translate(_FULL_WIDTH).strip().lstrip(_OPENERS)
    if _NOT_APPLICABLE.match(body):
        return ScoreText(value=None)
    match = _NUMBER.match(body)
    if match is None:
        return ScoreText(problem=Reason.UNREADABLE_SCORE)
    after = match["after"]
    if after[:1].isalnum() or _AMBIGUOUS_AFTER.match(after.lstrip(_CLOSERS)) or _AMBIGUOUS_AFTER.match(after):
        return ScoreText(problem=Reason.UNREADABLE_SCORE)
    value = float(match["number"].replace(",", "."))
    if match["of"] and float(match["of"].replace(",", ".")) != rubric.scale.maximum:
        return ScoreText(problem=Reason.OUT_OF_SCALE)
    if not rubric.scale.contains(value):
        return ScoreText(problem=Reason.OUT_OF_SCALE)
    return ScoreText(value=value)


@dataclass
class _Block:
    """What has been read about one dimension."""

    text: list[str] = field(default_factory=list)
    score: ScoreText | None = None


@dataclass(frozen=True)
class _Heading:
    """A line that opens a section, a dimension or a field; `rest` follows it on the line."""

    name: str
    """Casefolded canonical name."""
    rest: str
    decorated: bool
    """Whether it carries a number, `#` or bold."""
    remark: str
    """Text in parentheses right after the name."""
    colon: bool


class _Names:
    """Recognises the given names at the start of a line."""

    def __init__(self, names: list[str]) -> None:
        ordered = sorted(names, key=len, reverse=True)
        self._canonical = {_squeezed(name): name for name in ordered}
        choices = "|".join(_name_pattern(name) for name in ordered)
        self._pattern = re.compile(
            rf"(?P<name>{choices})(?P<label>\s+score)?\s*[*_`]*\s*(?:\((?P<remark>[^()]{{0,60}})\))?\s*[*_`]*\s*"
            r"(?:(?P<colon>[:=])|$)\s*[*_`]*\s*",
            re.IGNORECASE,
        )

    def match(self, line: str) -> _Heading | None:
        head = line[:_PREFIX].translate(_FULL_WIDTH)
        start, decorated = 0, False
        while found := _DECORATION.match(head, start):
            decorated = decorated or bool(found.group().strip(" \t>-+•"))
            start = found.end()
        match = self._pattern.match(head, start)
        if match is None:
            return None
        name = self._canonical[_squeezed(match["name"])]
        return _Heading(
            name=name.casefold(),
            rest=line[match.end() :].strip(),
            decorated=decorated,
            remark=(match["remark"] or "").strip(),
            colon=bool(match["colon"]),
        )


def _name_pattern(name: str) -> str:
    words = [r"(?:and|&)" if word.casefold() == "and" else re.escape(word) for word in name.split()]
    return r"\s{1,3}".join(words)


def _squeezed(name: str) -> str:
    return " ".join(name.casefold().replace("&", "and").split())


_SECTIONS: Final = (ANALYSIS, JUDGEMENT, SUMMARY, REFINEMENT, COMMENTS, REFINED)
_RANK: Final = {name.casefold(): rank for rank, name in enumerate(_SECTIONS)}
_JUDGING: Final = _RANK[JUDGEMENT.casefold()]
_SUMMING_UP: Final = _RANK[SUMMARY.casefold()]


class _Parser:
    """One pass over the lines of one reply."""

    def __init__(self, text: str, rubric: Rubric, mode: Mode) -> None:
        self._raw, self._rubric, self._mode = text, rubric, mode
        self._sections = _Names(list(_SECTIONS))
        self._dimensions = _Names([d.title for d in rubric.dimensions])
        self._fields = _Names([JUSTIFICATION, SCORE])
        self._by_title = {d.title.casefold(): d for d in rubric.dimensions}
        self._blocks: dict[str, _Block] = {}
        self._texts: dict[str, list[str]] = {name: [] for name in _RANK}
        self._rank = -1
        self._seen: set[str] = set()
        self._current: Dimension | None = None
        self._score_follows = False

    def run(self) -> Critique:
        if not self._raw.strip():
            raise self._error(Reason.EMPTY, "The reply is empty.")
        for line in self._lines():
            self._take(line)
        return self._finished()

    def _lines(self) -> Iterator[str]:
        text = self._raw
        if text.lstrip().startswith("<think>"):
            _, closed, text = text.partition("</think>")
            if not closed:
                raise self._error(Reason.TRUNCATED, "The reply ends inside its <think> block.")
        return (line for line in text.splitlines() if not _SEPARATOR.match(line[:_PREFIX]))

    def _take(self, line: str) -> None:
        if heading := self._sections.match(line):
            self._open_section(heading)
        elif (heading := self._dimensions.match(line)) and self._is_dimension(heading):
            self._open_dimension(heading)
        elif (heading := self._fields.match(line)) and (self._current or self._rank >= _SUMMING_UP):
            self._open_field(heading)
        elif self._score_follows and line.strip():
            self._score_follows = False
            self._record(self._current, read_score(line, self._rubric))
        else:
            self._add_text(line)

    def _open_section(self, heading: _Heading) -> None:
        rank = _RANK[heading.name]
        if heading.name in self._seen or rank < self._rank or (rank == _JUDGING and self._blocks):
            raise self._error(Reason.OUT_OF_ORDER, f"The section '{heading.name}' appears again or too late.")
        self._seen.add(heading.name)
        self._rank, self._current, self._score_follows = rank, None, False
        self._texts[heading.name].append(heading.rest)

    def _is_dimension(self, heading: _Heading) -> bool:
        """Whether a line with a dimension's title opens its judgement; `Title: prose` alone is only prose."""
        if self._is_compact(heading) or not heading.rest:
            return True
        return heading.decorated and self._rank < _SUMMING_UP

    def _is_compact(self, heading: _Heading) -> bool:
        """`Title: 3.5` or `Title (3.5/4)`."""
        return any(part and read_score(part, self._rubric).problem is None for part in (heading.remark, heading.rest))

    def _open_dimension(self, heading: _Heading) -> None:
        dimension = self._by_title[heading.name]
        compact = self._is_compact(heading)
        if self._rank >= _SUMMING_UP:
            if dimension.key not in self._blocks or (not compact and not self._all_scored()):
                raise self._error(Reason.OUT_OF_ORDER, f"'{dimension.title}' is judged after the summary.")
            if not compact:
                self._add_text(heading.name)
                return
        self._score_follows = False
        self._current = dimension if self._rank < _SUMMING_UP else None
        block = self._blocks.setdefault(dimension.key, _Block())
        for part in (heading.remark, heading.rest):
            if part and (found := read_score(part, self._rubric)).problem is None:
                self._record(dimension, found)
                return
        if heading.rest:
            inner = self._fields.match(heading.rest)
            if inner is not None:
                self._open_field(inner)
            else:
                block.text.append(heading.rest)

    def _open_field(self, heading: _Heading) -> None:
        if self._current is None:
            raise self._error(Reason.OUT_OF_ORDER, f"A '{heading.name}' line stands after the summary.")
        self._score_follows = False
        if heading.name == JUSTIFICATION.casefold():
            self._blocks[self._current.key].text.append(heading.rest)
        elif heading.rest:
            self._record(self._current, read_score(heading.rest, self._rubric))
        else:
            self._score_follows = True

    def _record(self, dimension: Dimension | None, found: ScoreText) -> None:
        assert dimension is not None
        block = self._blocks[dimension.key]
        if found.problem is not None:
            raise self._error(found.problem, f"The score of '{dimension.title}' cannot be used.")
        if found.value is None and not dimension.optional:
            raise self._error(Reason.NOT_OPTIONAL, f"'{dimension.title}' always applies but was answered with N/A.")
        if block.score is not None and block.score != found:
            raise self._error(Reason.CONFLICTING_SCORES, f"'{dimension.title}' has two different scores.")
        block.score = found

    def _add_text(self, line: str) -> None:
        if self._current is not None:
            self._blocks[self._current.key].text.append(line.strip())
        elif self._rank >= 0:
            self._texts[_SECTIONS[self._rank].casefold()].append(line.strip())

    def _all_scored(self) -> bool:
        return all(d.key in self._blocks and self._blocks[d.key].score for d in self._rubric.dimensions)

    def _finished(self) -> Critique:
        if not self._blocks:
            shown = " ".join(self._raw.split())[:80]
            raise self._error(Reason.NO_JUDGEMENT, f"The reply judges no dimension of the rubric: {shown!r}.")
        self._check_complete()
        refined = _joined(self._texts[REFINED.casefold()])
        comments = _joined(self._texts[COMMENTS.casefold()]) or _joined(self._texts[REFINEMENT.casefold()])
        return Critique(
            rubric=self._rubric.name,
            analysis=_joined(self._texts[ANALYSIS.casefold()]),
            judgements=tuple(self._judgement(dimension) for dimension in self._rubric.dimensions),
            summary=_joined(self._texts[SUMMARY.casefold()]),
            refinement=Refinement(comments=comments, request=_unquoted(refined)) if refined else None,
            raw=self._raw,
        )

    def _check_complete(self) -> None:
        dimensions = self._rubric.dimensions
        scored = [d.key in self._blocks and self._blocks[d.key].score is not None for d in dimensions]
        if not all(scored):
            first = dimensions[scored.index(False)]
            # Nothing after the gap: the reply stopped there. Something after it: the judge left it out.
            stopped = not any(scored[scored.index(False) :]) and self._rank < _SUMMING_UP
            if stopped:
                raise self._error(Reason.TRUNCATED, f"The reply ends before the score of '{first.title}'.")
            reason = Reason.MISSING_SCORE if first.key in self._blocks else Reason.MISSING_DIMENSION
            raise self._error(reason, f"The reply has no score for '{first.title}'.")
        if self._mode == "score":
            return
        if SUMMARY.casefold() not in self._seen:
            raise self._error(Reason.TRUNCATED, "The reply ends before its summary.")
        if self._rubric.layout.refinement and not _joined(self._texts[REFINED.casefold()]):
            raise self._error(Reason.TRUNCATED, "The reply ends before its refined request.")

    def _judgement(self, dimension: Dimension) -> Judgement:
        block = self._blocks[dimension.key]
        assert block.score is not None
        return Judgement(key=dimension.key, justification=_joined(block.text), score=block.score.value)

    def _error(self, reason: Reason, message: str) -> CritiqueParseError:
        return CritiqueParseError(reason.value, message, self._raw)


def _joined(lines: list[str]) -> str:
    """Lines as one text: blank lines at the ends dropped, inner line breaks kept."""
    return "\n".join(lines).strip()


def _unquoted(text: str) -> str:
    """Without quotation marks around the whole of it."""
    for opening, closing in (('"', '"'), ("“", "”"), ("'", "'"), ("`", "`")):
        inner = text[1:-1]
        if len(text) > 2 and text[0] == opening and text[-1] == closing and opening not in inner and closing not in inner:
            return inner.strip()
    return text
