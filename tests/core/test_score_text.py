"""What a score line says: one number of the scale, N/A, or why it is neither."""

from __future__ import annotations

import pytest

from rationalrewards_core.errors import CritiqueParseError
from rationalrewards_core.replies.parsing import Reason, parse_critique, read_score
from rationalrewards_core.rubric import Scale
from tests.core.reply_parts import RUBRICS, custom_rubric


class TestReadScore:
    """What one score line says on the default scale."""

    @pytest.mark.parametrize(
        ("text", "score"),
        [
            ("3.5", 3.5),
            ("+3.5", 3.5),
            ("**3.5**/4", 3.5),
            ("`3.5`", 3.5),
            ("(3.5/4)", 3.5),
            ("3.5 / 4.00 points", 3.5),
            ("3.", 3.0),
            ("3.50", 3.5),
            ("1", 1.0),
            ("4.0", 4.0),
            ("3.5 (out of 4)", 3.5),
            ("3.5 (on the 1-4 scale)", 3.5),
            ("3.5 — small flaws in 4K", None),
            ("3.5: good", 3.5),
            ("2 ⭐⭐", 2.0),
        ],
    )
    def test_number(self, text: str, score: float | None) -> None:
        found = read_score(text, RUBRICS["generation"])
        assert (found.value, found.problem) == (score, None if score else Reason.UNREADABLE_SCORE)

    @pytest.mark.parametrize(
        "text", ["N/A", "n/a.", "N\\A", "N.A.", "na", "`NA`", "not-applicable", "N/A: no text", "[N/A]"]
    )
    def test_not_applicable(self, text: str) -> None:
        found = read_score(text, RUBRICS["generation"])
        assert (found.value, found.problem) == (None, None)

    @pytest.mark.parametrize(
        "text", ["", " ", "-", "?", "N", "nap", "naïve", "not", "3 cats", "2-word sign", "1e0", "3..4", "∞", "٣"]
    )
    def test_neither(self, text: str) -> None:
        assert read_score(text, RUBRICS["generation"]).problem is Reason.UNREADABLE_SCORE

    @pytest.mark.parametrize("text", ["0.99", "4.01", "999999999", "-1", "3/5", "3.5/10", "40%", "4.0.", "0"])
    def test_the_scale_has_ends(self, text: str) -> None:
        found = read_score(text, RUBRICS["generation"])
        if text == "4.0.":
            assert found.value == 4.0
        else:
            assert found.problem in (Reason.OUT_OF_SCALE, Reason.UNREADABLE_SCORE)
        assert (found.problem is Reason.UNREADABLE_SCORE) == text.endswith("%")

    def test_another_scale(self) -> None:
        rubric = custom_rubric(("Mood",), Scale(minimum=0, maximum=10))
        assert read_score("8/10", rubric).value == 8.0
        assert read_score("8/4", rubric).problem is Reason.OUT_OF_SCALE
        assert read_score("-0.0", rubric).value == 0.0
        assert str(read_score("-0.0", rubric).value) == "0.0"
        assert read_score("10 (0-10)", rubric).value == 10.0

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("-1.5", -1.5),
            ("\u22121.5", -1.5),
            ("\uff0d1.5", -1.5),
            ("**-2**", -2.0),
            ("+1.5", 1.5),
            ("-0.0", 0.0),
            ("-1,5 (on the scale from -2 to 2)", -1.5),
            ("-1 (\u22122 to 2)", -1.0),
            ("-1 out of 2", -1.0),
            ("-2.5", Reason.OUT_OF_SCALE),
            ("1-2", Reason.UNREADABLE_SCORE),
            ("-1, minus 0.5", Reason.UNREADABLE_SCORE),
            ("-1 (was 1)", Reason.UNREADABLE_SCORE),
            ("-1 or \u22122", Reason.UNREADABLE_SCORE),
            ("\u20131", Reason.UNREADABLE_SCORE),  # a dash may be a minus or a separator
            ("- 1", Reason.UNREADABLE_SCORE),
            ("N/A (-1)", Reason.UNREADABLE_SCORE),
        ],
    )
    def test_a_scale_with_negative_scores(self, text: str, value: float | Reason) -> None:
        found = read_score(text, custom_rubric(("Mood",), Scale(minimum=-2, maximum=2)))
        assert (found.problem if isinstance(value, Reason) else found.value) == value
        assert str(found.value) != "-0.0"

    def test_a_scale_below_zero(self) -> None:
        rubric = custom_rubric(("Mood", "Words"), Scale(minimum=-5, maximum=-1))
        assert read_score("-1.0 (-5 to -1)", rubric).value == -1.0
        assert read_score("1.0", rubric).problem is Reason.OUT_OF_SCALE
        assert read_score("N/A (-1)", rubric).problem is Reason.UNREADABLE_SCORE
        assert read_score("-1. Dull colours", rubric, alone=True).problem is Reason.UNREADABLE_SCORE

    def test_replies_with_negative_scores(self) -> None:
        rubric = custom_rubric(("Mood", "Words"), Scale(minimum=-2, maximum=2))
        text = "# Detailed Judgement\n1. Mood: {}\n2. Words:\n## Score:\n{}\n# Summary: Fine."
        for first, second in (("-1.5", "-0.5"), ("\u22121.5", "**\u22120.5**")):
            assert parse_critique(text.format(first, second), rubric, "score").scores == {"d0": -1.5, "d1": -0.5}
        with pytest.raises(CritiqueParseError) as caught:
            parse_critique(text.format("-1.5", "-0.5\n\u22120.5 for the sky"), rubric, "score")
        assert caught.value.reason == Reason.UNREADABLE_SCORE.value
