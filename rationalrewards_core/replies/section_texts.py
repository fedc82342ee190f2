"""The texts of a reply's sections, line by line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..rubric import ANALYSIS, JUDGEMENT, REFINED, SUMMARY


class SectionTexts:
    """What has been written in each section so far, and which section is open."""

    def __init__(self, sections: Sequence[str]) -> None:
        """`sections` in the order in which a reply has them."""
        self._sections = sections
        self._ranks = {name: rank for rank, name in enumerate(sections)}
        self._texts: dict[str, list[str]] = {name: [] for name in sections}
        self._whole_analysis: list[str] = []
        """Every line of the analysis, headings included."""
        self._rank = -1
        self._ended = False
        """Whether a closing fence has ended the refined request."""

    @property
    def is_judging(self) -> bool:
        """Whether no section after the judgement has been opened."""
        return self._rank < self._ranks[SUMMARY]

    @property
    def is_summary(self) -> bool:
        return self._rank == self._ranks[SUMMARY]

    @property
    def is_outside(self) -> bool:
        """Whether a line stands before everything, or between the judgement's heading and its dimensions."""
        return self._rank in (-1, self._ranks[JUDGEMENT])

    @property
    def has_request(self) -> bool:
        return bool(self[REFINED])

    def __getitem__(self, section: str) -> str:
        return joined(self._texts[section])

    def has(self, section: str) -> bool:
        """Whether a section has been opened, with words or without."""
        return bool(self._texts[section])

    def may_open(self, section: str) -> bool:
        return self._ranks[section] > self._rank

    def is_doubled_label(self, section: str) -> bool:
        """Whether a heading only repeats that of the refined request, which has no words yet."""
        return section == REFINED and self._rank == self._ranks[REFINED] and not self.has_request

    def open(self, section: str) -> None:
        self._rank = self._ranks[section]

    def note(self, line: str) -> None:
        """Remember a line of the analysis, whatever it turns out to be."""
        if self._rank == self._ranks[ANALYSIS]:
            self._whole_analysis.append(line)

    def take_back_analysis(self) -> None:
        """Dimensions that were named in the analysis judged nothing: their lines belong to its text."""
        self._texts[ANALYSIS] = [*self._texts[ANALYSIS][:1], *self._whole_analysis[:-1]]

    def add(self, line: str) -> None:
        if self._rank >= 0 and not self._ended:
            self._texts[self._sections[self._rank]].append(line)

    def end(self) -> None:
        self._ended = True

    def fill(self, texts: Mapping[str, str]) -> None:
        """Texts for sections that have none."""
        for section, text in texts.items():
            if not self[section]:
                self._texts[section] = [text]


def joined(lines: Iterable[str]) -> str:
    """Lines as one text: blank lines at the ends dropped, inner line breaks kept."""
    return "\n".join(lines).strip()
