"""RationalRewards-SFTData: chats with `messages` and `images`. Its pairwise rows hold a preference in the answer.

The answer is read like any comparison, by its scores; pointwise rows hold no preference and are left out. What the
label of the underlying data set was cannot be seen, so these pairs carry the teacher's word for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rationalrewards_core.comparison import parse_comparison
from rationalrewards_core.errors import CritiqueParseError
from rationalrewards_core.rubric import SCORE_A, Rubric
from rationalrewards_core.rubric_file import edit_rubric, generation_rubric

from ..pairs import PreferencePair
from .intake import Dataset, Intake, Row, Skip, text

REQUEST_LABEL = "User Instruction:"


def _pairs(rows: Iterator[Row], intake: Intake) -> Iterator[PreferencePair]:
    rubrics = {2: generation_rubric(), 3: edit_rubric()}
    return intake.each(rows, lambda row: _pair(row, intake, rubrics))


def _pair(row: Row, intake: Intake, rubrics: dict[int, Rubric]) -> PreferencePair:
    question, answer = _said(row, "user"), _said(row, "assistant")
    if SCORE_A.casefold() not in answer.casefold():
        raise Skip("pointwise row")
    images = row.get("images")
    if not isinstance(images, list) or len(images) not in rubrics:
        raise Skip("not two or three images")
    try:
        comparison = parse_comparison(answer, rubrics[len(images)])
    except CritiqueParseError as error:
        raise Skip(f"answer cannot be read: {error.reason}") from error
    *sources, first, second = (intake.image(image) for image in images)
    return PreferencePair(
        request=text({"request": _request(question)}, "request"),
        sources=tuple(sources),
        first=first,
        second=second,
        preference=comparison.verdict,
        origin=SFTDATA.origin,
        row=str(images[-1]) if isinstance(images[-1], str) else "",
        licence=SFTDATA.licence,
    )


def _said(row: Row, role: str) -> str:
    for message in row["messages"] or ():
        if isinstance(message, dict) and message.get("role") == role:
            content: Any = message.get("content")
            if isinstance(content, str):
                return content
    raise Skip(f"no {role} message")


def _request(question: str) -> str:
    _, label, rest = question.partition(REQUEST_LABEL)
    if not label:
        raise Skip("no request")
    return rest.strip().split("\n", 1)[0].strip()


SFTDATA = Dataset(
    name="rationalrewards-sft",
    origin="TIGER-Lab/RationalRewards-SFTData",
    licence="MIT",
    required=("messages", "images"),
    pairs=_pairs,
)
