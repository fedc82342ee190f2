"""Scores in a Markdown table: one row (or column) per dimension, one column (or row) named Score.

    | Dimension         | Score | Reason        |
    |-------------------|-------|---------------|
    | Text Faithfulness | 3.5   | the hat is red |

A table counts if it has rows of the rubric's dimensions and a score for them. A second column that looks like a
score, a second number in a row, or a row with more cells than the header makes its scores unreadable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from ..headings import Headings
from ..rubric import Dimension, Rubric
from ..spelling import plain
from .score_sheet import Claim
from .score_text import Reason, ScoreText, names_another_scale, read_score

_RULE: Final = re.compile(r"\|(?:\s*:?-+:?\s*\|)+")
_CELLS: Final = re.compile(r"(?<!\\)\|")
_SCORE: Final = re.compile(r"(?:score|rating)s?\b[^|]{0,40}", re.IGNORECASE)
_SCORE_TOO: Final = re.compile(
    r"scores?\b|ratings?\b|grade|points|marks?\b|revis|correct|adjust|updat|final|draft", re.IGNORECASE
)
_TOTAL: Final = re.compile(r"max(?:imum)?\b.{0,20}|out of|of|scale|range", re.IGNORECASE)
"""A column that names the scale."""
_DRESS: Final = "*_` \t"
_UNREADABLE: Final = ScoreText(problem=Reason.UNREADABLE_SCORE)


def table_claims(lines: Sequence[str], rubric: Rubric) -> list[Claim]:
    """Every score that a table of the reply gives to a dimension, in order. `lines` are stripped."""
    titles = {dimension.title: dimension for dimension in rubric.dimensions}
    headings = Headings(titles)
    claims: list[Claim] = []
    for table in _tables(lines):
        cells = [[_dimension(cell, headings, titles) for cell in row] for row in table]
        if any(cells[0]):
            table = [list(column) for column in zip(*table, strict=False)] if _is_even(table) else table
            cells = [[_dimension(cell, headings, titles) for cell in row] for row in table]
        claims += _claims(table, cells, rubric)
    return claims


def _tables(lines: Sequence[str]) -> Iterator[list[list[str]]]:
    """The cells of every table: header first, without the rule below it. A row that is not closed ends its table."""
    place = 0
    while place + 1 < len(lines):
        if not (_is_row(lines[place]) and _RULE.fullmatch(lines[place + 1])):
            place += 1
            continue
        table, place = [_cells(lines[place])], place + 2
        while place < len(lines) and _is_row(lines[place]):
            if not _RULE.fullmatch(lines[place]):
                table.append(_cells(lines[place]))
            place += 1
        yield table


def _is_row(line: str) -> bool:
    return len(line) > 2 and line[0] == "|" == line[-1] and line[-2] != "\\"


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in _CELLS.split(line)[1:-1]]


def _is_even(table: list[list[str]]) -> bool:
    return len({len(row) for row in table}) == 1


def _dimension(cell: str, headings: Headings, titles: dict[str, Dimension]) -> Dimension | None:
    heading = headings.match(cell)
    return titles.get(heading.name) if heading is not None and not heading.rest else None


def _claims(table: list[list[str]], dimensions: list[list[Dimension | None]], rubric: Rubric) -> Iterator[Claim]:
    header = [plain(cell).strip(_DRESS) for cell in table[0]]
    columns = [place for place, cell in enumerate(header) if _SCORE.fullmatch(cell)]
    if not columns:
        return
    another_scale = names_another_scale(header[columns[0]], rubric.scale)
    totals = [place for place, cell in enumerate(header) if _TOTAL.fullmatch(cell)]
    alike = [cell for cell in header if _SCORE_TOO.search(cell)]
    for row, names in zip(table[1:], dimensions[1:], strict=True):
        at = next((place for place, dimension in enumerate(names) if dimension is not None), None)
        dimension = None if at is None else names[at]
        if at is None or dimension is None:
            continue
        score = _UNREADABLE
        others = [cell for place, cell in enumerate(row) if place > at and place not in (columns[0], *totals)]
        if len(alike) == 1 and len(row) == len(header) and not any(_is_number(cell, rubric) for cell in others):
            score = read_score(row[columns[0]], rubric)
            if another_scale or any(
                names_another_scale(f"/{row[place].strip(_DRESS)}", rubric.scale) for place in totals
            ):
                score = ScoreText(problem=Reason.OUT_OF_SCALE)
        yield Claim(dimension, score, " ".join(filter(None, others)))


def _is_number(cell: str, rubric: Rubric) -> bool:
    """Whether a cell beside a score is a number of the scale; one before the title counts the rows."""
    return bool(cell) and read_score(cell, rubric, alone=True).problem is None
