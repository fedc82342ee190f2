"""Reading a critique back from what a model wrote: tolerant of form, strict about meaning.

Accepted: headings in bold, numbered, with or without `#` or colon; the score before or after the
justification, on the next line, in bold, as `3,5`, `3.5/4` or `3.5 out of 4`; `n/a` in any spelling
with a remark; a refined request of many lines; preambles, code fences, a closed `<think>` block.

Never guessed: whatever could be read in two ways raises `CritiqueParseError` with one of `Reason`.
Headings count at the start of a line only, so text quoted inside a sentence changes nothing, and
a quoted heading on a line of its own ends in a conflict, never in another number. A heading that is
none of the rubric's ends the dimension before it, so its score is nobody else's.

Time is linear in the length of the text: every line is looked at once, patterns do not backtrack.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from .control_tokens import without_control_tokens
from .critique import Critique, Judgement, Refinement
from .errors import CritiqueParseError
from .headings import CORRECTIONS, OVERALL, PREFIX, Heading, Headings
from .quotation import unquoted
from .rubric import (
    ANALYSIS,
    COMMENTS,
    JUDGEMENT,
    JUSTIFICATION,
    MAX_TITLE_CHARACTERS,
    REFINED,
    REFINEMENT,
    SCORE,
    SUMMARY,
    Dimension,
    Rubric,
)
from .score_text import Reason, ScoreText, continues_a_number, read_score
from .spelling import plain, squeezed
from .thinking import answer_of

__all__ = ["Mode", "Reading", "Reason", "ScoreText", "parse_critique", "read_score"]

Mode = Literal["critique", "score"]
"""`critique` wants every section of the layout; `score` wants every score and lets the rest be missing."""

_SECTIONS: Final = (ANALYSIS, JUDGEMENT, SUMMARY, REFINEMENT, COMMENTS, REFINED)
_RANK: Final = {name: rank for rank, name in enumerate(_SECTIONS)}
_JUDGING: Final = _RANK[JUDGEMENT]
_SUMMING_UP: Final = _RANK[SUMMARY]
_RULE: Final = "-*_=` \t"
_FENCE: Final = re.compile(r"```\w{0,20}$")
_SENTENCE_MARK: Final = re.compile(r"[.,;!?。，；！？…]")
_LABEL: Final = re.compile(r"[*_`]{0,3}[^\W\d_][^.,;!?。，；！？…:]{0,79}[*_`]{0,3}:?[*_`]{0,3}")
_FEW_WORDS: Final = re.compile(
    r"[-*+•\s]{0,4}[*_`]{0,3}[^\W\d_][^\s.,;!?。，；！？…:：]*(?:\s[^\s.,;!?。，；！？…:：]+){0,2}[:：]?"
)
_TAKEN_BACK: Final = re.compile(r"revis|correct|final|updat|adjust|re-?eval|re-?assess|second thought", re.IGNORECASE)
_IN_A_NUMBER: Final = re.compile(r"[0-9][.,]")


def parse_critique(text: str, rubric: Rubric, mode: Mode = "critique") -> Critique:
    """Read a reply written under `rubric`. Raises `CritiqueParseError` with a `Reason` and the whole text."""
    reading = Reading(text, rubric, (SCORE,))
    refinement = reading.refinement()
    if mode == "critique":
        reading.needs_summary(written=not rubric.layout.refinement)
        if rubric.layout.refinement and refinement is None:
            raise reading.error(Reason.TRUNCATED, "The reply ends before its refined request.")
    judgements = (
        Judgement(key=d.key, justification=reading.justification(d), score=reading.score(d, SCORE))
        for d in rubric.dimensions
    )
    return Critique(
        rubric=rubric.name,
        analysis=reading.text_of(ANALYSIS),
        judgements=tuple(judgements),
        summary=reading.text_of(SUMMARY),
        refinement=refinement,
        raw=text,
    )


@dataclass
class _Block:
    """What has been read about one dimension."""

    text: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    scores: dict[str, ScoreText] = field(default_factory=dict)
    """By field: `Score`, or `Score A` and `Score B`."""
    notes: dict[str, str] = field(default_factory=dict)
    headings: int = 0
    """How often the dimension's heading opened it."""
    justifications: int = 0
    score_lines: Counter[str] = field(default_factory=Counter)


class Reading:
    """One pass over the lines of one reply; afterwards every dimension has all of its scores.

    `score_fields` are the fields that hold a score, `notes` further ones that are kept as text. With a
    single score field, a dimension may also be judged in one line: `Text Rendering: 3.5`.
    """

    def __init__(self, text: str, rubric: Rubric, score_fields: tuple[str, ...], notes: tuple[str, ...] = ()) -> None:
        self._raw, self._rubric = text, rubric
        self._score_fields, self._notes = score_fields, notes
        self._fields = (JUSTIFICATION, *score_fields, *notes)
        self._by_title = {d.title: d for d in rubric.dimensions}
        self._headings = Headings([*_SECTIONS, *self._by_title, *self._fields])
        own = {squeezed(title) for title in self._by_title}
        self._overall = Headings([name for name in OVERALL if squeezed(name) not in own])
        self._corrections = Headings(CORRECTIONS)
        self._blocks: dict[str, _Block] = {}
        self._claims: dict[str, Mapping[str, ScoreText]] = {}
        """Scores that stand before `# Detailed Judgement`: no judgement, but they must not contradict it."""
        self._texts: dict[str, list[str]] = {name: [] for name in _SECTIONS}
        self._opening: list[str] = []
        """Every line of the analysis, headings included."""
        self._rank = -1
        self._current: Dimension | None = None
        self._number: int | None = None
        """Number of the current dimension's heading, as long as no list has begun."""
        self._level = 0
        self._awaited: str | None = None
        """A score field whose score is on the next line."""
        self._foreign = False
        """Whether a heading of something else stands in the current dimension: a score after it is not the dimension's."""
        self._scored_last: Dimension | None = None
        """The dimension whose score the line before has given."""
        self._fenced = self._requested = self._ended = False
        """Whether a code fence is open, the refined request has words, a closing fence has ended it."""
        if not text.strip():
            raise self.error(Reason.EMPTY, "The reply is empty.")
        for line in self._lines():
            self._take(line)
        self._check_scores()

    def score(self, dimension: Dimension, score_field: str) -> float | None:
        return self._blocks[dimension.key].scores[score_field].value

    def justification(self, dimension: Dimension) -> str:
        """The evidence; what was remarked next to the score if there is nothing else."""
        block = self._blocks[dimension.key]
        return _joined(block.text) or _joined(block.remarks).lstrip("-–—:;,. ")

    def note(self, dimension: Dimension, name: str) -> str:
        return self._blocks[dimension.key].notes.get(name, "")

    def text_of(self, section: str) -> str:
        return _joined(self._texts[section])

    def refinement(self) -> Refinement | None:
        request = without_control_tokens(self.text_of(REFINED))
        if not request:
            return None
        comments = without_control_tokens(self.text_of(COMMENTS) or self.text_of(REFINEMENT))
        return Refinement(comments=comments, request=unquoted(request))

    def needs_summary(self, *, written: bool) -> None:
        """Raise unless the reply has a summary; `written` wants words in it, not only its heading."""
        if not self._texts[SUMMARY]:
            what = "has no summary" if self._rank >= _SUMMING_UP else "ends before its summary"
            raise self.error(Reason.TRUNCATED, f"The reply {what}.")
        if written and not self.text_of(SUMMARY):
            raise self.error(Reason.TRUNCATED, "The reply ends in its summary.")

    def error(self, reason: Reason, message: str) -> CritiqueParseError:
        return CritiqueParseError(reason.value, message, self._raw)

    def _lines(self) -> Iterator[str]:
        text = self._raw.replace("\r\n", "\n").replace("\r", "\n")
        answer = answer_of(text, self._preamble)
        if answer is None:
            raise self.error(Reason.TRUNCATED, "The reply ends inside its <think> block.")
        return (line.strip() for line in answer.split("\n"))

    def _preamble(self, text: str) -> str:
        """What stands before the first line that is a heading of the rubric's."""
        before = []
        for line in text.split("\n"):
            heading = self._headings.match(line.strip())
            if heading is not None and heading.name:
                break
            before.append(line)
        return "\n".join(before)

    def _take(self, line: str) -> None:
        if not line or self._is_rule(line):
            self._add_text("")
            return
        if self._rank == _RANK[ANALYSIS]:
            self._opening.append(line)
        heading = self._headings.match(line)
        scored, self._scored_last = self._scored_last, None
        if scored is not None and continues_a_number(line):
            raise self.error(Reason.UNREADABLE_SCORE, f"The score of '{scored.title}' goes on in the next line.")
        if self._current and self._awaited is None and not (heading and heading.name):
            self._look_for_others(line, heading, self._current)
        if heading is None:
            self._take_text(line)
        elif heading.name in _RANK:
            self._open_section(heading)
        elif heading.name in self._by_title and self._opens_dimension(heading):
            self._open_dimension(heading, line)
        elif heading.name in self._fields and self._current:
            self._open_field(heading, self._current)
        elif heading.name in self._fields and self._rank >= _SUMMING_UP and heading.name not in self._notes:
            raise self.error(Reason.OUT_OF_ORDER, f"A '{heading.name}' line stands after the summary.")
        elif self._awaited is None and not heading.name and self._current and self._is_foreign(heading):
            self._current = None
        else:
            self._take_text(line)

    def _is_rule(self, line: str) -> bool:
        """Whether a line is only a rule or a code fence; the fence that closes the refined request ends it."""
        if _FENCE.match(line):
            self._ended = self._ended or (self._fenced and self._requested)
            self._fenced = not self._fenced
            return True
        return not line.strip(_RULE)

    def _take_text(self, line: str) -> None:
        if self._awaited is None or self._current is None:
            self._add_text(line)
            return
        score_field, self._awaited = self._awaited, None
        self._record(self._current, score_field, read_score(line, self._rubric, alone=True))

    def _open_section(self, heading: Heading) -> None:
        rank = _RANK[heading.name]
        if rank <= self._rank:
            raise self.error(Reason.OUT_OF_ORDER, f"The section '{heading.name}' appears again or too late.")
        if rank == _JUDGING and self._blocks:
            self._claims = {key: block.scores for key, block in self._blocks.items()}
            self._blocks = {}
            self._texts[ANALYSIS] = [*self._texts[ANALYSIS][:1], *self._opening[:-1]]
        self._rank, self._current, self._awaited = rank, None, None
        self._add_text(heading.rest)

    def _one_line_scores(self, heading: Heading) -> list[ScoreText]:
        """What `Title: 3.5` or `Title (3.5/4)` says."""
        if len(self._score_fields) > 1:
            return []
        found = (read_score(part, self._rubric, alone=True) for part in (heading.remark, heading.rest) if part)
        return [score for score in found if score.problem is None]

    def _opens_dimension(self, heading: Heading) -> bool:
        """Whether a line with a dimension's title opens its judgement; `Title: prose` alone is only prose."""
        if not heading.rest or self._one_line_scores(heading):
            return True
        return heading.decorated and self._rank < _SUMMING_UP

    def _open_dimension(self, heading: Heading, line: str) -> None:
        dimension = self._by_title[heading.name]
        scores = self._one_line_scores(heading)
        if self._rank >= _SUMMING_UP:
            self._mention(dimension, scores, line)
            return
        self._current, self._awaited, self._foreign = dimension, None, False
        self._number, self._level = heading.number, heading.level
        block = self._blocks.setdefault(dimension.key, _Block())
        block.headings += 1
        for score in scores:
            self._record(dimension, self._score_fields[0], score)
        if heading.rest and read_score(heading.rest, self._rubric, alone=True).problem is not None:
            inner = self._headings.match(heading.rest)
            if inner is not None and inner.name in self._fields:
                self._open_field(inner, dimension)
            else:
                block.text.append(heading.rest)

    def _mention(self, dimension: Dimension, scores: list[ScoreText], line: str) -> None:
        """A dimension named after the summary: words, or a score that was given before."""
        block = self._blocks.get(dimension.key)
        if block is None or not (scores or self._first_unscored() is None):
            raise self.error(Reason.OUT_OF_ORDER, f"'{dimension.title}' is judged after the summary.")
        for score in scores:
            self._check(dimension, block.scores.get(self._score_fields[0]), score)
        self._add_text(line)

    def _open_field(self, heading: Heading, dimension: Dimension) -> None:
        self._awaited = None
        block = self._blocks[dimension.key]
        if heading.name == JUSTIFICATION:
            block.justifications += 1
            # A second justification of one heading is something else's, and so is the score after it.
            self._foreign = self._foreign or (block.justifications > block.headings and not block.scores)
            block.text.append(heading.rest)
        elif heading.name in self._notes:
            block.notes[heading.name] = heading.rest
        elif self._foreign or (not block.scores and _names_another(block.text)):
            self._foreign = True
        elif heading.rest:
            self._record(dimension, heading.name, read_score(heading.rest, self._rubric))
        else:
            self._awaited = heading.name

    def _look_for_others(self, line: str, heading: Heading | None, dimension: Dimension) -> None:
        """See whether a line corrects the dimension's score, or begins something whose score is not the dimension's."""
        block = self._blocks[dimension.key]
        correction = self._corrections.match(line)
        if correction is not None and correction.name and not self._foreign:
            for score_field, known in block.scores.items():
                if read_score(correction.rest, self._rubric) != known:
                    message = f"'{dimension.title}' has a score and a {correction.name.lower()} that differs."
                    raise self.error(Reason.CONFLICTING_SCORES, f"{message[:-1]} ({score_field}).")
        overall = self._overall.match(line)
        label = (heading.rest if heading is not None else line).strip("-+•·–> \t")
        alone = _LABEL.fullmatch(plain(label[:PREFIX])) is not None and len(label) <= PREFIX
        if (overall is not None and overall.name) or (
            alone and ((heading is not None and heading.level > 0) or _is_label(label))
        ):
            # A score that is taken back stays the dimension's, so that the two contradict each other.
            self._foreign = self._foreign or not (block.scores and _TAKEN_BACK.search(line))

    def _is_foreign(self, heading: Heading) -> bool:
        """Whether an unknown heading continues the dimensions' own, so that another dimension begins."""
        title, colon, _ = heading.rest[:PREFIX].partition(":")
        if heading.number is not None and self._number is not None:
            follows = heading.number == self._number + 1
            if not follows:
                self._number = None
        else:
            follows = heading.level > 0 and heading.level == self._level
        is_title = title[:1].isalpha() and len(title) <= MAX_TITLE_CHARACTERS and not _SENTENCE_MARK.search(title)
        return follows and is_title and (bool(colon) or title == heading.rest)

    def _record(self, dimension: Dimension, score_field: str, found: ScoreText) -> None:
        block = self._blocks[dimension.key]
        self._check(dimension, block.scores.get(score_field), found)
        block.scores[score_field] = found
        self._scored_last = dimension
        block.score_lines[score_field] += 1
        block.remarks.append(found.remark)

    def _check(self, dimension: Dimension, known: ScoreText | None, found: ScoreText) -> None:
        if found.problem is not None:
            raise self.error(found.problem, f"The score of '{dimension.title}' cannot be used.")
        if found.value is None and not dimension.optional:
            raise self.error(Reason.NOT_OPTIONAL, f"'{dimension.title}' always applies but was answered with N/A.")
        if known is not None and known != found:
            raise self.error(Reason.CONFLICTING_SCORES, f"'{dimension.title}' has two different scores.")

    def _add_text(self, line: str) -> None:
        if self._current is not None:
            self._blocks[self._current.key].text.append(line)
        elif self._rank >= 0 and not self._ended and (self._rank >= _SUMMING_UP or not self._blocks):
            self._texts[_SECTIONS[self._rank]].append(line)
            self._requested = self._requested or (self._rank == _RANK[REFINED] and bool(line))

    def _first_unscored(self) -> int | None:
        """Place of the first dimension that lacks a score."""
        for place, dimension in enumerate(self._rubric.dimensions):
            if not self._scored(dimension):
                return place
        return None

    def _scored(self, dimension: Dimension) -> bool:
        block = self._blocks.get(dimension.key)
        return block is not None and all(name in block.scores for name in self._score_fields)

    def _check_scores(self) -> None:
        if not self._blocks:
            shown = " ".join(self._raw[:400].split())[:80]
            raise self.error(Reason.NO_JUDGEMENT, f"The reply judges no dimension of the rubric: {shown!r}.")
        dimensions = self._rubric.dimensions
        gap = self._first_unscored()
        if gap is not None:
            title = dimensions[gap].title
            # Nothing after the gap: the reply stopped there. Something after it: the judge left it out.
            if self._rank < _SUMMING_UP and not any(self._scored(d) for d in dimensions[gap:]):
                raise self.error(Reason.TRUNCATED, f"The reply ends before the score of '{title}'.")
            reason = Reason.MISSING_SCORE if dimensions[gap].key in self._blocks else Reason.MISSING_DIMENSION
            raise self.error(reason, f"The reply has no score for '{title}'.")
        if self._rank < _SUMMING_UP and _IN_A_NUMBER.fullmatch(self._raw[-2:]):
            raise self.error(Reason.TRUNCATED, "The reply ends inside a number.")
        for dimension in dimensions:
            block = self._blocks[dimension.key]
            for name, found in self._claims.get(dimension.key, {}).items():
                self._check(dimension, block.scores[name], found)
            if block.headings > 1 and any(block.score_lines[name] < block.headings for name in self._score_fields):
                raise self.error(Reason.OUT_OF_ORDER, f"'{dimension.title}' is opened twice but scored once.")


def _is_label(line: str) -> bool:
    """Whether a line without its bullet or number is a label alone: `Overall:`, `**Aesthetics**`."""
    bare = plain(line).strip()
    bold = len(bare) > 4 and bare[0] in "*_" and bare[0] == bare[-1].replace(":", bare[0])
    titled = all(len(word) < 4 or not word[0].islower() for word in bare.split())  # `In detail:` opens a list
    return bold or (titled and bare.rstrip("*_`").endswith(":"))


def _names_another(text: list[str]) -> bool:
    """Whether the last line before a score, after the end of a sentence, may name something else: `Composition`."""
    *before, last = [line for line in text if line] or [""]
    few = _FEW_WORDS.fullmatch(last) is not None
    named = last.endswith((":", "：")) or last.lstrip("-*+•_` ")[:1].isupper()
    return bool(before) and before[-1][-1] in ".!?。！？…" and few and named


def _joined(lines: list[str]) -> str:
    """Lines as one text: blank lines at the ends dropped, inner line breaks kept."""
    return "\n".join(lines).strip()
