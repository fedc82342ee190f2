"""Scores of something else, scores that are taken back, and scores of another scale are refused, not read."""

from __future__ import annotations

import pytest

from rationalrewards_core.critique import Critique
from rationalrewards_core.rubric import Layout, Rubric
from tests.core.reply_parts import HEAD, OPEN_THIRD, TAIL, TWO, custom_rubric, read

UNUSABLE = {"conflicting_scores", "unreadable_score"}


class TestScoresOfSomethingElse:
    @pytest.mark.parametrize(
        "block",
        [
            *("## Overall\n## Score: 2.7", "**Overall**\n**Score:** 2.7", "Overall:\nScore: 2.7", "Overall Score: 2.7"),
            *(
                "Average:\n## Score: 2.7",
                "4. Overall:\n## Score: 2.7",
                "Aesthetics:\n## Justification: j\n## Score: 1.0",
            ),
            *(
                "## Composition\n## Score: 2.7",
                "**Aesthetics**:\n## Justification: j\n## Score: 1.0",
                "## Final Score: 2.7",
            ),
            *(
                "- Objects:\n  - Score: 4.0\n- Colours:\n  - Score: 4.0",
                "Composition\n## Justification: j\n## Score: 2.7",
                "## Justification: It is well lit.\nComposition\n## Score: 2.7",
                "It is well lit.\n- Final grade:\n  - Score: 2.7",
            ),
        ],
    )
    def test_never_fill_a_gap(self, block: str, generation: Rubric) -> None:
        assert read(f"{HEAD}{TWO}{OPEN_THIRD}{block}\n{TAIL}", generation) == "missing_score"
        ended = read(f"{HEAD}{TWO}{OPEN_THIRD}## Score: N/A\n{block}\n{TAIL}", generation)
        if isinstance(ended, Critique):
            assert ended.scores["text_rendering"] is None

    def test_a_label_of_a_list_is_no_heading(self, generation: Rubric) -> None:
        listed = f"{HEAD}{TWO}{OPEN_THIRD}In detail:\n- a\n- b: c\n## Score: N/A\n{TAIL}"
        outcome = read(listed, generation)
        assert isinstance(outcome, Critique)
        assert "- b: c" in outcome.judgements[2].justification


class TestScoresTakenBack:
    @pytest.mark.parametrize(
        "line",
        [
            "## Final Score: 2.0",
            "Revised score: 2.0",
            "**Corrected Score:** 2.0",
            "Correction:\n## Score: 2.0",
            "## Adjusted rating: 2.0",
            "Score after deductions: 2.0",
        ],
    )
    def test_a_correction_contradicts(self, line: str, generation: Rubric) -> None:
        scores = TWO.replace("## Score: 3.5", f"## Score: 3.5\n{line}")
        assert read(f"{HEAD}{scores}{OPEN_THIRD}## Score: N/A\n{TAIL}", generation) == "conflicting_scores"

    @pytest.mark.parametrize("number", ["1、", "1）", "1)", "(1)", "1.)", "1. ", "1: "])
    def test_a_numbered_title_may_begin_with_a_digit(self, number: str) -> None:
        rubric = custom_rubric(("3D Look",), layout=Layout(refinement=False))
        text = f"# Detailed Judgement\n{number}3D Look\n## Justification: Flat.\n## Score: 2.5\n# Summary: Flat.\n"
        assert read(text, rubric).scores == {"d0": 2.5}

    @pytest.mark.parametrize(
        "rest",
        [
            "\n.5",
            "\n/5",
            "\nto 4",
            ", out of ten",
            "\n, out of ten",
            "\n-4",
            " of five",
            "\nout of 10",
            ".\n5",
            "\n5",
            " -\n4",
            "\n(2)",
            "\n→ 2",
            "\n½",
            "\npoints of 10",
        ],
    )
    def test_a_number_that_goes_on_is_not_read(self, rest: str, generation: Rubric) -> None:
        scores = TWO.replace("## Score: 3.5", f"## Score: 3{rest}")
        assert read(f"{HEAD}{scores}{OPEN_THIRD}## Score: N/A\n{TAIL}", generation) == "unreadable_score"

    @pytest.mark.parametrize(
        "line",
        [
            *(
                "Actually, 2.0",
                "EDIT: 2.0",
                "- **Edit** - 2",
                "Final answer: 2.0",
                "Update: 2/4",
                "> Revised: 2.0",
                "No, 2.0",
            ),
            *(
                "On second thought, this deserves a 2.",
                "I'd lower it to 2.0",
                "Hmm, more like a 2",
                "The score should be 2.0.",
            ),
            *(
                "~~3.5~~ 2.0",
                "~~3.5~~\n2.0",
                "<del>3.5</del> 2.0",
                "(changed to 2.0)",
                "2.0 after a second look",
                "2.0 is fairer",
            ),
            *(
                "Let me reconsider: six fingers, so 2.0.",
                "Let me reconsider.\n\n2.0",
                "Actually, two.",
                "### Edit\n## Score: 2.0",
            ),
            *(
                "Scratch that.",
                "That is too high.",
                "I take that back.",
                "(minus one point)",
                "Final Rating: 2.0",
                "Verdict: 2.0",
            ),
            *(
                "Korrektur: 2,0",
                "更正：2.0",
                "实际上应为2分",
                "Corrección: 2,0",
                "Nota final: 2,0",
                "Исправлено: 2.0",
                "訂正: 2.0",
            ),
        ],
    )
    def test_a_correction_in_free_words_contradicts(self, line: str, generation: Rubric) -> None:
        for behind in (f"\n{line}", f"\n\n{line}", f"\nThe hat is red.\n{line}"):
            scores = TWO.replace("## Score: 3.5", f"## Score: 3.5{behind}")
            assert read(f"{HEAD}{scores}{OPEN_THIRD}## Score: N/A\n{TAIL}", generation) == "conflicting_scores"
        last = f"{HEAD}{TWO}{OPEN_THIRD}## Score: 3.0\n{line}"
        assert read(last, generation, "score") == "conflicting_scores"
        beside = TWO.replace("## Score: 3.5", f"## Score: 3.5 {line}")
        assert read(f"{HEAD}{beside}{OPEN_THIRD}## Score: N/A\n{TAIL}", generation) in UNUSABLE
        remark = TWO.replace("## Score: 3.5", f"## Score: 3.5 ({line})")
        assert read(f"{HEAD}{remark}{OPEN_THIRD}## Score: N/A\n{TAIL}", generation) in UNUSABLE

    @pytest.mark.parametrize(
        "line",
        [
            *("Actually, Text Faithfulness should be 2.0.", "EDIT: text faithfulness 2.0", "Edit: 2.0"),
            *(
                "Revised scores: 2.0, 2.0, N/A",
                "Final scores: 2.5 / 2.0 / N/A",
                "- Text Faithfulness – 2.0",
                "Text Faithfulness (2.0) is weak.",
            ),
            *(
                "On second thought I'd give 2.0 for Text Faithfulness.",
                "Correction (Text Faithfulness): 2",
                "Text Faithfulness: 2.0",
            ),
        ],
    )
    def test_a_correction_far_from_its_score_contradicts_too(self, line: str, generation: Rubric) -> None:
        whole = f"{HEAD}{TWO}{OPEN_THIRD}## Score: N/A\n{TAIL}"
        for reply in (whole.replace("ok", line), f"{whole}\n{line}", whole.replace("# Summary", f"{line}\n# Summary")):
            assert read(reply, generation) == "conflicting_scores"

    def test_a_summary_with_second_thoughts(self, generation: Rubric) -> None:
        whole = f"{HEAD}{TWO}{OPEN_THIRD}## Score: N/A\n{TAIL}"
        assert (
            read(whole.replace("ok", "Fine. Actually the first one should be a 2.5."), generation)
            == "conflicting_scores"
        )
        for words in (
            "Text Faithfulness (3.5) is fine, quality (2.0) is not.",
            "Final score: 2.8",
            "To raise Text Faithfulness above 3.0, add light.",
        ):
            assert isinstance(read(whole.replace("ok", words), generation), Critique)

    def test_an_earlier_score_that_is_taken_back_in_the_next_dimension(self, generation: Rubric) -> None:
        scores = TWO.replace(
            "Quality:\n## Justification: j", "Quality:\n## Justification: Actually, the score above should be 2.5."
        )
        assert read(f"{HEAD}{scores}{OPEN_THIRD}## Score: N/A\n{TAIL}", generation) == "conflicting_scores"

    @pytest.mark.parametrize(
        "line",
        [
            *(
                "Actually, 2 of the 3 cats are black.",
                "The contrast is too high.",
                "Final answer: 3.5",
                "(3.5 in all)",
                "Overall: 2.7",
            ),
            *(
                "The sign reads 24.",
                "Edit the hat, not the face.",
                "I would keep it.",
                "- 2 cats\n- 1 dog",
                "3.5",
                "Two hats, one cat.",
            ),
        ],
    )
    def test_what_only_looks_like_a_correction_changes_nothing(self, line: str, generation: Rubric) -> None:
        scores = TWO.replace("## Score: 3.5", f"## Score: 3.5\n\nSo it is.\n{line}")
        outcome = read(f"{HEAD}{scores}{OPEN_THIRD}## Score: N/A\n{TAIL}", generation)
        assert isinstance(outcome, Critique)
        assert outcome.scores["text_faithfulness"] == 3.5

    def test_second_thoughts_before_a_score_are_only_thoughts(self, generation: Rubric) -> None:
        scores = TWO.replace("j\n## Score: 3.5", "At first 2.0; on second thought 3.0.\nActually, 3.5.\n## Score: 3.5")
        outcome = read(f"{HEAD}{scores}{OPEN_THIRD}## Score: N/A\n{TAIL}", generation)
        assert isinstance(outcome, Critique)

    def test_a_justification_behind_the_score_may_count_but_not_correct(self) -> None:
        rubric = custom_rubric(("Mood",), layout=Layout(score_first=True, refinement=False))
        text = "# Detailed Judgement\n1. Mood:\n## Score: 3.5\n## Justification: {}\n# Summary: Fine."
        for words in ("There is a count of 2.", "However, 1.5 metres of wall are bare.", "2 hats\n3 cats: fine"):
            assert isinstance(read(text.format(words), rubric), Critique)
        for words in ("Actually, 2.0", "It is red.\nEDIT: 2.0", "Let me reconsider: 2.0 fits."):
            assert read(text.format(words), rubric) == "conflicting_scores"

    def test_the_scales_own_total_in_words(self, generation: Rubric) -> None:
        scores = TWO.replace("## Score: 3.5", "## Score: 3.5, out of four")
        assert isinstance(read(f"{HEAD}{scores}{OPEN_THIRD}## Score: N/A\n{TAIL}", generation), Critique)


class TestAnotherScale:
    """A number of another scale is no number of the rubric's, even where it would fit."""

    @pytest.mark.parametrize("remark", ["1-5", "/5", "out of 10", "0–10", "max 5", "of ten", "scale 1 to 5"])
    def test_in_a_label(self, remark: str, generation: Rubric) -> None:
        reply = f"{HEAD}{TWO}{OPEN_THIRD}## Score: N/A\n{TAIL}"
        for label in (f"## Score ({remark}): 3.5", f"**Score ({remark}):**\n3.5"):
            assert read(reply.replace("## Score: 3.5", label), generation) == "score_out_of_scale"
        for section in (
            f"# Detailed Judgement ({remark})",
            f"# Detailed Judgement\nScores are given on a scale of {remark.lstrip('scale ')}.",
        ):
            outcome = read(reply.replace("# Detailed Judgement", section), generation)
            assert outcome == "score_out_of_scale" or remark in ("of ten", "max 5", "/5")
        table = f"| Dimension | Score ({remark}) |\n|---|---|\n| Text Faithfulness | 3.5 |\n| Physical and Visual Quality | 2 |\n| Text Rendering | N/A |"
        assert read(table, generation, "score") == "score_out_of_scale"

    @pytest.mark.parametrize("remark", ["1-4", "/4", "out of 4", "1.0 to 4.0", "of four", "max 4", "good"])
    def test_the_own_one_may_be_named(self, remark: str, generation: Rubric) -> None:
        reply = f"{HEAD}{TWO}{OPEN_THIRD}## Score: N/A\n{TAIL}".replace("## Score: 3.5", f"## Score ({remark}): 3.5")
        assert isinstance(read(f"I score from 1 to 4.\n{reply}", generation), Critique)

    @pytest.mark.parametrize(
        "stated",
        ["I score from 1 to 10.", "Scores (out of 5):", "Rating scale: 0-100", "Each is rated between 0 and 5."],
    )
    def test_said_before_everything(self, stated: str, generation: Rubric) -> None:
        reply = f"{HEAD}{TWO}{OPEN_THIRD}## Score: N/A\n{TAIL}"
        assert read(f"{stated}\n{reply}", generation) == "score_out_of_scale"
        assert isinstance(read(reply.replace("A cat.", f"A sheet of paper that says: {stated}"), generation), Critique)

    @pytest.mark.parametrize(
        "said", ['"max_score": 5', '"scale": "1-5"', '"out_of": 10', '"min": 0', '"scale": {"min": 0, "max": 4}']
    )
    def test_in_json(self, said: str, generation: Rubric) -> None:
        scores = '"Physical & Visual Quality": 2, "Text Rendering": "N/A"'
        for reply in (
            f'{{"Text Faithfulness": {{"score": 3.5, {said}}}, {scores}}}',
            f'{{{said}, "Text Faithfulness": 3.5, {scores}}}',
        ):
            assert read(reply, generation) == "score_out_of_scale"
        own = f'{{"max_score": 4, "scale": "1-4", "min": 1, "Text Faithfulness": 3.5, {scores}}}'
        assert isinstance(read(own, generation), Critique)

    @pytest.mark.parametrize("total", ["5", "10", "/5"])
    def test_in_a_column(self, total: str, generation: Rubric) -> None:
        rows = "| Text Faithfulness | 3.5 | {0} |\n| Physical and Visual Quality | 2 | {0} |\n| Text Rendering | N/A | {0} |"
        table = "| Dimension | Score | Out of |\n|---|---|---|\n" + rows
        assert read(table.format(total), generation, "score") == "score_out_of_scale"
        assert isinstance(read(table.format("4"), generation, "score"), Critique)
