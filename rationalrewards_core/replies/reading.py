"""What a reply says under a rubric: its lines, and the tables and JSON in it, as scores and texts."""

from __future__ import annotations

import re
from typing import Final

from ..control_tokens import without_control_tokens
from ..critique import Refinement
from ..errors import CritiqueParseError
from ..reply_layout import reply_headings
from ..rewording.refined_text import refined_words
from ..rubric import COMMENTS, REFINED, REFINEMENT, SUMMARY, Dimension, Rubric
from ..thinking import answer_of
from .line_reader import LineReader
from .score_json import JsonReply, read_json
from .score_sheet import ScoreSheet
from .score_tables import table_claims
from .score_text import Reason
from .section_texts import joined

_IN_A_NUMBER: Final = re.compile(r"[0-9][.,]")


class Reading:
    """A reply that has been read: every dimension has all of its scores, or the constructor raises `CritiqueParseError`.

    A critique, which has a single score per dimension, may also judge in a table or in JSON; a comparison (`pairwise`) not.
    """

    def __init__(self, text: str, rubric: Rubric, *, pairwise: bool = False) -> None:
        self._raw, self._rubric = text, rubric
        layout = reply_headings(rubric, pairwise=pairwise)
        self._score_fields = layout.scores
        self._sheet = ScoreSheet(rubric, layout.scores, text)
        self._lines = LineReader(rubric, layout, self._sheet)
        self._texts = self._lines.texts
        self.is_whole = False
        """Whether the reply is a JSON value, which has an end by which one sees that nothing is cut off."""
        self._read()

    def _read(self) -> None:
        if not self._raw.strip():
            raise self.error(Reason.EMPTY, "The reply is empty.")
        text = self._answer()
        alone = len(self._score_fields) == 1
        json_reply = read_json(text, self._rubric) if alone else None
        lines = [line.strip() for line in (json_reply.rest if json_reply else text).split("\n")]
        for line in lines:
            self._lines.take(line)
        if alone:
            self._take_claims(json_reply or JsonReply(), lines)
        self._check_scores()

    def score(self, dimension: Dimension, score_field: str) -> float | None:
        return self._sheet[dimension].scores[score_field].value

    def justification(self, dimension: Dimension) -> str:
        """The evidence; what was remarked next to the score if there is nothing else."""
        block = self._sheet[dimension]
        return joined(block.text) or joined(block.remarks).lstrip("-–—:;,. ")

    def note(self, dimension: Dimension, name: str) -> str:
        return self._sheet[dimension].notes.get(name, "")

    def text_of(self, section: str) -> str:
        return self._texts[section]

    def refinement(self) -> Refinement | None:
        request = refined_words(self._texts[REFINED])
        if not request:
            return None
        comments = without_control_tokens(self._texts[COMMENTS] or self._texts[REFINEMENT])
        return Refinement(comments=comments, request=request)

    def needs_summary(self, *, in_words: bool) -> None:
        """Raise unless the reply has a summary; `in_words` wants words in it, not only its heading."""
        if not self._texts.has(SUMMARY):
            what = "ends before its summary" if self._texts.is_judging else "has no summary"
            raise self.error(Reason.TRUNCATED, f"The reply {what}.")
        if in_words and not self._texts[SUMMARY]:
            raise self.error(Reason.TRUNCATED, "The reply ends in its summary.")

    def error(self, reason: Reason, message: str) -> CritiqueParseError:
        return self._sheet.error(reason, message)

    def _answer(self) -> str:
        answer = answer_of(self._raw.replace("\r\n", "\n").replace("\r", "\n"), self._preamble)
        if answer is None:
            raise self.error(Reason.TRUNCATED, "The reply ends inside its <think> block.")
        return answer

    def _preamble(self, text: str) -> str:
        """What stands before the first line that is a heading of the rubric's."""
        before = []
        for line in text.split("\n"):
            heading = self._lines.headings.match(line.strip())
            if heading is not None and heading.name:
                break
            before.append(line)
        return "\n".join(before)

    def _take_claims(self, json_reply: JsonReply, lines: list[str]) -> None:
        """Take over what tables and JSON say, where headings have said nothing else."""
        by_headings = any(True for _ in self._sheet.scored())
        self._sheet.claim([*json_reply.claims, *table_claims(lines, self._rubric)], self._score_fields[0])
        self.is_whole = bool(json_reply.claims) and not by_headings
        self._texts.fill(json_reply.texts)
        if not by_headings and self._sheet:
            for line in lines:
                if not line.startswith("|"):
                    self._lines.watch.look_elsewhere(line, after_scores=True)
                    self._lines.check_stated_scale(line)

    def _check_scores(self) -> None:
        if not self._sheet:
            words = " ".join(self._raw[:400].split())[:80]
            raise self.error(Reason.NO_JUDGEMENT, f"The reply judges no dimension of the rubric: {words!r}.")
        ended = self.is_whole or not self._texts.is_judging
        self._sheet.check_complete(ended=ended)
        if not ended and _IN_A_NUMBER.fullmatch(self._raw[-2:]):
            raise self.error(Reason.TRUNCATED, "The reply ends inside a number.")
