"""One pass over the lines of a reply: headings, scores, texts. Tolerant of form, strict about meaning.

Headings count at the start of a line only, so text quoted inside a sentence changes nothing, and
a quoted heading on a line of its own ends in a conflict, never in another number. A heading that is
none of the rubric's ends the dimension before it, so its score is nobody else's.

Time is linear in the length of the text: every line is looked at once, patterns do not backtrack.
"""

from __future__ import annotations

import re
from typing import Final

from ..headings import PREFIX, Heading, Headings
from ..reply_layout import ReplyHeadings
from ..rubric import JUDGEMENT, JUSTIFICATION, SUMMARY, Dimension, Rubric
from .correction_watch import CorrectionWatch
from .corrections import MARKS
from .labels import ends_in_a_name, is_title, stands_alone
from .score_sheet import ScoreSheet
from .score_text import Reason, ScoreText, names_another_scale, read_score, states_another_scale
from .section_texts import SectionTexts

_RULE: Final = "-*_=` \t"
_FENCE: Final = re.compile(r"```\w{0,20}$")


class LineReader:
    """Reads lines into a `ScoreSheet` and `SectionTexts`, by the headings of the reply's layout.

    With a single score field, a dimension may also be judged in one line (`Text Rendering: 3.5`).
    """

    def __init__(self, rubric: Rubric, layout: ReplyHeadings, sheet: ScoreSheet) -> None:
        self._rubric, self._layout, self._sheet = rubric, layout, sheet
        self._by_title = {d.title: d for d in rubric.dimensions}
        self.headings = Headings([*layout.sections, *self._by_title, *layout.fields])
        self.watch = CorrectionWatch(rubric, sheet)
        self.texts = SectionTexts(layout.sections)
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
        self._explains = False
        """Whether a justification stands behind the current dimension's score."""
        self._summed_up = False
        """Whether something over all dimensions stands behind the current one's score."""
        self._fenced = False
        """Whether a code fence is open."""

    def take(self, line: str) -> None:
        """Read the next line, stripped. Raises `CritiqueParseError` for what can be read in two ways."""
        if not line or self._is_rule(line):
            self._add_text("")
            return
        self.texts.note(line)
        heading = self.headings.match(line)
        has_name = heading is not None and bool(heading.name)
        follows, self._scored_last = self._scored_last is not None, None
        if self._current is None and not has_name and self.texts.is_outside:
            self.check_stated_scale(line)
        if self._awaited is None and not has_name:
            self._look_for_corrections(line, follows=follows)
            if self._current is not None:
                self._look_for_others(line, heading, self._current)
        if heading is None:
            self._take_text(line)
        elif heading.name in self._layout.sections:
            self._open_section(heading)
        elif heading.name in self._by_title and self._opens_dimension(heading):
            self._open_dimension(heading, line)
        elif heading.name in self._layout.fields and self._current:
            self._open_field(heading, self._current)
        elif (
            heading.name in self._layout.fields and not self.texts.is_judging and heading.name not in self._layout.notes
        ):
            raise self._sheet.error(Reason.OUT_OF_ORDER, f"A '{heading.name}' line stands after the summary.")
        elif self._awaited is None and not heading.name and self._current and self._is_foreign(heading):
            self._current = None
        else:
            self._take_text(line)

    def _is_rule(self, line: str) -> bool:
        """Whether a line is only a rule or a code fence; the fence that closes the refined request ends it."""
        if _FENCE.match(line):
            if self._fenced and self.texts.has_request:
                self.texts.end()
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
        if self.texts.is_doubled_label(heading.name):
            self._add_text(heading.rest)
            return
        if not self.texts.may_open(heading.name):
            raise self._sheet.error(Reason.OUT_OF_ORDER, f"The section '{heading.name}' appears again or too late.")
        if heading.name == JUDGEMENT and self._sheet:
            self._sheet.set_aside()
            self.texts.take_back_analysis()
        self.texts.open(heading.name)
        self._current, self._awaited = None, None
        self._check_scale(heading.remark)
        self.watch.look_elsewhere(heading.rest, after_scores=not self.texts.is_judging, sums_up=self.texts.is_summary)
        inner = self.headings.match(heading.rest)
        if heading.name == SUMMARY and inner is not None and inner.name in self._by_title:
            self._mention(self._by_title[inner.name], self._one_line_scores(inner), heading.rest)
        else:
            self._add_text(heading.rest)

    def _one_line_scores(self, heading: Heading) -> list[ScoreText]:
        """What `Title: 3.5` or `Title (3.5/4)` says."""
        if len(self._layout.scores) > 1:
            return []
        scores = (read_score(part, self._rubric, alone=True) for part in (heading.remark, heading.rest) if part)
        return [score for score in scores if score.problem is None]

    def _opens_dimension(self, heading: Heading) -> bool:
        """Whether a line with a dimension's title opens its judgement; `Title: prose` alone is only prose."""
        if not heading.rest or self._one_line_scores(heading):
            return True
        return heading.decorated and self.texts.is_judging

    def _open_dimension(self, heading: Heading, line: str) -> None:
        dimension = self._by_title[heading.name]
        scores = self._one_line_scores(heading)
        if not self.texts.is_judging:
            self._mention(dimension, scores, line)
            return
        self._current, self._awaited = dimension, None
        self._foreign = self._explains = self._summed_up = False
        self._number, self._level = heading.number, heading.level
        block = self._sheet.open(dimension)
        for score in scores:
            self._record(dimension, self._layout.scores[0], score)
        if heading.rest and read_score(heading.rest, self._rubric, alone=True).problem is not None:
            inner = self.headings.match(heading.rest)
            if inner is not None and inner.name in self._layout.fields:
                self._open_field(inner, dimension)
            else:
                block.text.append(heading.rest)

    def _mention(self, dimension: Dimension, scores: list[ScoreText], line: str) -> None:
        """A dimension named after the summary: words, or a score that was given before."""
        block = self._sheet.get(dimension)
        if block is None or not (scores or self._sheet.first_unscored() is None):
            raise self._sheet.error(Reason.OUT_OF_ORDER, f"'{dimension.title}' is judged after the summary.")
        for score in scores:
            self._sheet.check(dimension, block.scores.get(self._layout.scores[0]), score)
        self._add_text(line)

    def _open_field(self, heading: Heading, dimension: Dimension) -> None:
        self._awaited = None
        block = self._sheet[dimension]
        if heading.name == JUSTIFICATION:
            block.justifications += 1
            self._explains = bool(block.scores)
            # A second justification of one heading is something else's, and so is the score after it.
            self._foreign = self._foreign or (block.justifications > block.headings and not block.scores)
            self._look_for_corrections(heading.rest, follows=False)
            block.text.append(heading.rest)
        elif heading.name in self._layout.notes:
            block.notes[heading.name] = heading.rest
        elif self._foreign or (not block.scores and ends_in_a_name(block.text)):
            self._foreign = True
        elif heading.rest:
            self._check_scale(heading.remark)
            self._record(dimension, heading.name, read_score(heading.rest, self._rubric))
        else:
            self._check_scale(heading.remark)
            self._awaited = heading.name

    def _check_scale(self, remark: str) -> None:
        if names_another_scale(remark, self._rubric.scale):
            raise self._sheet.error(Reason.OUT_OF_SCALE, f"The scores are of another scale: '{remark}'.")

    def _look_for_corrections(self, line: str, *, follows: bool) -> None:
        if self._current is not None and self._sheet[self._current].scores and not self._summed_up:
            self.watch.look_behind_score(line, self._current, follows=follows, explains=self._explains)
        else:
            self.watch.look_elsewhere(line, after_scores=self._current is None, sums_up=self.texts.is_summary)

    def _look_for_others(self, line: str, heading: Heading | None, dimension: Dimension) -> None:
        """See whether a line begins something whose score is not the dimension's."""
        sums_up = self.watch.sums_up(line)
        self._summed_up = self._summed_up or sums_up
        if sums_up or stands_alone(line, heading):
            # A score that is taken back stays the dimension's, so that the two contradict each other.
            has_score = bool(self._sheet[dimension].scores)
            self._foreign = self._foreign or not (has_score and MARKS.search(line[:PREFIX]))

    def _is_foreign(self, heading: Heading) -> bool:
        """Whether an unknown heading continues the dimensions' own, so that another dimension begins."""
        if heading.number is not None and self._number is not None:
            follows = heading.number == self._number + 1
            if not follows:
                self._number = None
        else:
            follows = heading.level > 0 and heading.level == self._level
        return follows and is_title(heading.rest)

    def _record(self, dimension: Dimension, score_field: str, score: ScoreText) -> None:
        self._sheet.record(dimension, score_field, score)
        self._scored_last = dimension

    def check_stated_scale(self, line: str) -> None:
        """Raise if a line says that scores run from other numbers than the rubric's."""
        if states_another_scale(line, self._rubric.scale):
            raise self._sheet.error(Reason.OUT_OF_SCALE, f"The scores are of another scale: {line[:80]!r}.")

    def _add_text(self, line: str) -> None:
        if self._current is not None:
            self._sheet[self._current].text.append(line)
        elif not (self.texts.is_judging and self._sheet):
            self.texts.add(line)
