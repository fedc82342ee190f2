"""Replies of judges: what is a score, and what never becomes one."""

from __future__ import annotations

import time

import pytest

from rationalrewards_core.errors import CritiqueParseError
from training.evaluate.generation.replies import json_scores, scored_lines, tagged_marks, yes_or_no

THREE = (
    "Brief reasoning: 2 hats and not 1.\nPrompt Compliance: 4\nVisual Naturalness: 3\nPhysical & Detail Integrity: 2"
)


def lines(text: str) -> tuple[float, ...]:
    return scored_lines(3, 1, 5, text)


@pytest.mark.parametrize(
    "text",
    [
        THREE,
        THREE.replace("Prompt Compliance: 4", "**Prompt Compliance**: 4"),
        THREE.replace("Prompt Compliance: 4", "- **Prompt Compliance: 4**"),
        THREE.replace(": 4", "： 4."),
        THREE.replace(": 4", ": 4/5").replace("\n", "\r\n"),
        THREE + "\n\nThe hat is too large.",
    ],
)
def test_three_lines_are_three_scores(text: str) -> None:
    assert lines(text) == (4.0, 3.0, 2.0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty_reply"),
        ("I cannot help with that.", "missing_score"),
        (THREE.rsplit("\n", 1)[0], "missing_score"),
        (THREE + "\nOverall: 3", "missing_score"),
        (THREE.replace(": 4", ": 4.5"), "missing_score"),
        (THREE.replace(": 4", ": 4-5"), "missing_score"),
        (THREE.replace(": 4", ": four"), "missing_score"),
        (THREE.replace(": 4", ": 0"), "score_out_of_scale"),
        (THREE.replace(": 4", ": 6"), "score_out_of_scale"),
        (THREE.replace(": 4", ": 4/10"), "score_out_of_scale"),
        (THREE.replace("Visual Naturalness", "Prompt Compliance"), "conflicting_scores"),
    ],
)
def test_anything_else_is_no_score(text: str, reason: str) -> None:
    with pytest.raises(CritiqueParseError) as caught:
        lines(text)
    assert (caught.value.reason, caught.value.raw) == (reason, text)


def test_a_megabyte_of_anything_is_read_at_once() -> None:
    started = time.perf_counter()
    for text in ("*" * 10**6, "a: " * 10**6, "a:\n" * 10**5, "{" * 10**6):
        for read in (lines, lambda t: json_scores(2, 0, 10, t), lambda t: tagged_marks(2, t)):
            with pytest.raises(CritiqueParseError):
                read(text)
    assert time.perf_counter() - started < 20


@pytest.mark.parametrize(
    "text",
    [
        '{"score": [9, 4], "reasoning": "fine"}',
        '```json\n{\n"score" : [9, 4.0],\n"reasoning" : "fine"\n}\n```',
        '||V^=^V||\n{"score": [9, 4], "reasoning": "fine"}\n||V^=^V||',
        "[9, 4]",
    ],
)
def test_two_scores_in_json(text: str) -> None:
    assert json_scores(2, 0, 10, text) == (9.0, 4.0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty_reply"),
        ("Nine and four.", "no_judgement"),
        ('{"score": [9, 4]', "no_judgement"),
        ('{"score": 9}', "missing_score"),
        ('{"score": [9]}', "missing_score"),
        ('{"score": [9, 4, 3]}', "missing_score"),
        ('{"scores": [9, 4]}', "missing_score"),
        ('{"score": ["9", 4]}', "unreadable_score"),
        ('{"score": [true, 4]}', "unreadable_score"),
        ('{"score": [11, 4]}', "score_out_of_scale"),
        ('{"score": [NaN, 4]}', "score_out_of_scale"),
    ],
)
def test_json_that_does_not_say_two_scores(text: str, reason: str) -> None:
    """The benchmark's own program draws a random number here."""
    with pytest.raises(CritiqueParseError) as caught:
        json_scores(2, 0, 10, text)
    assert caught.value.reason == reason


def test_marks_in_tags() -> None:
    text = "<description><analysis>['a', \"b's\"]</analysis>\n<score>\n[1, 0]\n</score></description>"
    assert tagged_marks(2, text) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty_reply"),
        ("[1, 0]", "missing_score"),
        ("<score>[1]</score>", "missing_score"),
        ("<score>1, 0</score>", "missing_score"),
        ("<score>[1, 0]</score><score>[0, 0]</score>", "missing_score"),
        ("<score>[1, 2]</score>", "score_out_of_scale"),
        ("<score>[1, 0.5]</score>", "score_out_of_scale"),
        ("<score>[true, false]</score>", "score_out_of_scale"),
        ('<score>["1", "0"]</score>', "score_out_of_scale"),
    ],
)
def test_tags_that_do_not_say_marks(text: str, reason: str) -> None:
    with pytest.raises(CritiqueParseError) as caught:
        tagged_marks(2, text)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ('{"answer": "Yes", "explanation": "no tulip"}', 1.0),
        ('Sure:\n```json\n{"answer": "no", "explanation": "x"}\n```', 0.0),
        ("Yes.", 1.0),
        ("**No**", 0.0),
    ],
)
def test_yes_and_no(text: str, right: float) -> None:
    assert yes_or_no(True, text) == (right,)
    assert yes_or_no(False, text) == (1.0 - right,)


@pytest.mark.parametrize(
    "text",
    ["", "Yes and no.", "Yes, the tulip is there", '{"answer": "maybe"}', '{"explanation": "yes"}', '{"answer": 1}'],
)
def test_neither_is_no_answer(text: str) -> None:
    """The benchmark's own program looks for the words anywhere, and counts what is left as wrong."""
    with pytest.raises(CritiqueParseError):
        yes_or_no(True, text)
