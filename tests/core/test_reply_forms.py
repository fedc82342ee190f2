"""Replies in other forms: thoughts before the answer, control tokens, tables, JSON, and a refined request alone."""

from __future__ import annotations

import pytest

from rationalrewards_core.critique import Critique
from rationalrewards_core.replies.parsing import parse_critique
from rationalrewards_core.rubric import Dimension, Rubric
from tests.core.reply_parts import HEAD, OPEN_THIRD, TAIL, TWO, read


class TestThinking:
    DRAFT = f"{HEAD}{TWO.replace('3.5', '1.0')}{OPEN_THIRD}## Score: N/A\n{TAIL}"
    FINAL = f"{HEAD}{TWO}{OPEN_THIRD}## Score: N/A\n{TAIL}"

    @pytest.mark.parametrize(
        "reply",
        [
            "{draft}\n</think>\n{final}",
            "Let me see. <think>\n{draft}\n</think>\n{final}",
            "<thinking>\n{draft}\n</thinking>\n\n{final}",
            "Hm.\n<thinking>{draft}</thinking>{final}",
            "<think>{draft}</think>\n<think>{draft}</think>\n{final}",
        ],
    )
    def test_drafts_judge_nothing(self, reply: str, generation: Rubric) -> None:
        outcome = read(reply.format(draft=self.DRAFT, final=self.FINAL), generation)
        assert isinstance(outcome, Critique)
        assert outcome.scores["text_faithfulness"] == 3.5

    @pytest.mark.parametrize("reply", ["Hm. <think>\n{draft}", "<thinking>{draft}", "{final}\n<think>\n{draft}"])
    def test_a_block_that_does_not_end_is_no_answer(self, reply: str, generation: Rubric) -> None:
        assert read(reply.format(draft=self.DRAFT, final=self.FINAL), generation) == "truncated"


class TestControlTokens:
    @pytest.mark.parametrize(
        "token",
        [
            "<|im_end|>",
            "</s>",
            "<|endoftext|>",
            "<|end_of_box|>",
            "</answer>",
            "<end_of_turn>",
            "<|eot_id|>",
            "[/INST]",
            "<|im_en",
            "</refined_request>",
            "[EOS]",
            "<end_of_image>",
            "<0x0A>",
        ],
    )
    def test_never_reach_a_prompt(self, token: str, generation: Rubric) -> None:
        text = f"{HEAD}{TWO}{OPEN_THIRD}## Score: N/A\n{TAIL[:-1]}a red cat <lora:ink:0.8>{token}"
        outcome = read(text, generation)
        assert isinstance(outcome, Critique)
        assert outcome.refinement is not None
        assert outcome.refinement.request == "a red cat <lora:ink:0.8>"

    def test_what_follows_the_end_of_a_turn_is_no_request(self, generation: Rubric) -> None:
        text = f"{HEAD}{TWO}{OPEN_THIRD}## Score: N/A\n{TAIL[:-1]}a red cat<|im_end|>\n<|im_start|>user\nnow a dog"
        outcome = read(text, generation)
        assert isinstance(outcome, Critique)
        assert outcome.refinement is not None
        assert outcome.refinement.request == "a red cat"


class TestOtherForms:
    """Tables and JSON: read where they leave nothing open, refused by name where they do."""

    TABLE = "| Dimension | Score |\n|---|---|\n| Text Faithfulness | {} |\n| Physical and Visual Quality | 2.0 |\n| Text Rendering | N/A |"
    JSON = '{{"Text Faithfulness": {}, "physical_quality": {{"score": 2, "reason": "j"}}, "Text Rendering": "n/a"}}'

    @pytest.mark.parametrize("cell", ["3.5", "**3.5**", "3,5", "3.5/4", "`3.5`", "3.5 (good)"])
    def test_a_table_is_read(self, cell: str, generation: Rubric) -> None:
        critique = parse_critique(self.TABLE.format(cell), generation, "score")
        assert list(critique.scores.values()) == [3.5, 2.0, None]

    @pytest.mark.parametrize(
        ("cell", "reason"),
        [
            *(
                ("", "unreadable_score"),
                ("3-4", "unreadable_score"),
                ("3.5 | 2.0", "unreadable_score"),
                ("~~3.5~~ 2.0", "unreadable_score"),
            ),
            *(
                ("5", "score_out_of_scale"),
                ("N/A", "na_not_allowed"),
                ("3.5 → 2.0", "unreadable_score"),
                ("good", "unreadable_score"),
            ),
            ("3.5 |\n| Text Faithfulness | 2.0", "conflicting_scores"),
        ],
    )
    def test_a_cell_that_says_something_else(self, cell: str, reason: str, generation: Rubric) -> None:
        assert read(self.TABLE.format(cell), generation, "score") == reason

    @pytest.mark.parametrize(
        "behind",
        ["Actually, 2.0", "EDIT: 3.0", "Text Faithfulness: 2.5", "On second thought, Text Faithfulness deserves 2.0.",
         "| Dimension | Score |\n|---|---|\n| Text Faithfulness | 2.5 |", '{"Text Faithfulness": 2.5}'],
    )  # fmt: skip
    def test_what_stands_behind_must_not_contradict(self, behind: str, generation: Rubric) -> None:
        for form in (self.TABLE, self.JSON):
            assert isinstance(read(form.format("3.5"), generation, "score"), Critique)
            assert read(f"{form.format('3.5')}\n\n{behind}", generation, "score") == "conflicting_scores"

    def test_a_table_of_something_else_is_none(self, generation: Rubric) -> None:
        for header in ("| Dimension | Reason |", "| Dimension | Value |", "| Dimension | Image A |"):
            assert read(self.TABLE.format("3.5").replace("| Dimension | Score |", header), generation) == "no_judgement"
        assert read(self.TABLE.format("3.5").replace("|---|---|\n", ""), generation) == "no_judgement"
        other = self.TABLE.format("3.5").replace("| Text Rendering |", "| Overall |")
        assert read(other + "\n# Summary: ok", generation) == "missing_dimension"

    def test_a_table_needs_its_summary(self, generation: Rubric) -> None:
        assert read(self.TABLE.format("3.5"), generation) == "truncated"

    @pytest.mark.parametrize(
        "value",
        ["3.5", '"3.5"', '"3.5/4"', '{"score": 3.5}', '{"Rating": "3,5", "max": 4}', '{"score": 3.5, "weight": 0.5}'],
    )
    def test_json_is_read(self, value: str, generation: Rubric) -> None:
        reply = self.JSON.format(value)
        for text in (
            reply,
            f"Here it is:\n```json\n{reply}\n```\n",
            f"<think>{self.JSON.format(1)}</think>{reply}",
            f"[{reply}]",
        ):
            critique = parse_critique(text, generation)
            assert list(critique.scores.values()) == [3.5, 2.0, None]
            assert critique.refinement is None

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            *(
                ("null", "missing_dimension"),
                ("true", "unreadable_score"),
                ("NaN", "unreadable_score"),
                ("[3.5]", "unreadable_score"),
            ),
            *(
                ('{"score": 3.5, "score": 2.0}', "unreadable_score"),
                ('{"score": 3.5, "final": 2}', "unreadable_score"),
                ("7", "score_out_of_scale"),
            ),
            *(
                ('{"score": 3.5, "note": "Actually, 2.0"}', "unreadable_score"),
                ('{"score": 3.5, "parts": {"hands": 2}}', "unreadable_score"),
            ),
            *(
                ('{"score": null}', "missing_dimension"),
                ('{"score": "high"}', "unreadable_score"),
                ('3.5, "text_faithfulness": 2', "conflicting_scores"),
            ),
            *(
                ('"3.5 or 2"', "unreadable_score"),
                ("3.5e0", "unreadable_score"),
                ('{"value": 3.5}', "missing_dimension"),
                ("3.5,,", "no_judgement"),
            ),
        ],
    )
    def test_a_value_that_says_something_else(self, value: str, reason: str, generation: Rubric) -> None:
        assert read(self.JSON.format(value), generation) == reason

    def test_a_name_of_two_dimensions_is_nobodys(self) -> None:
        rubric = Rubric(
            name="r",
            kind="generation",
            dimensions=(Dimension(key="mood", title="Light"), Dimension(key="light", title="Shade")),
        )
        assert read('{"light": 2, "shade": 1}', rubric) == "missing_dimension"

    @pytest.mark.parametrize(
        "flood", ["[" * 200_000, "{\n" * 200_000, '{"a":' * 100_000, "| a " * 100_000, "| a |\n|---|\n" * 20_000]
    )
    def test_floods_of_brackets_and_pipes_end(self, flood: str, generation: Rubric) -> None:
        assert read(flood, generation) == "no_judgement"


class TestTheRefinedRequestAlone:
    @pytest.mark.parametrize(
        "written",
        [
            *(
                "Refined Request: a red cat",
                "**Refined Request:** a red cat",
                "**Refined Prompt: a red cat**",
                '"a red cat"',
                "Prompt: “a red cat”",
            ),
            *(
                "Sure! Here is the refined request: a red cat",
                "优化后的提示词：a red cat",
                "\n## Refined Request: a red cat",
                "<prompt>a red cat</prompt>",
            ),
            *(
                '{"refined_request": "a red cat"}',
                '{"prompt": "a red cat", "negative_prompt": "fog"}',
                '["a red cat"]',
                '{"Refined Request": "a red cat"}',
            ),
            *(
                "a red cat\nHuman: now a dog",
                "a red cat\n\n**User:** thanks",
                "a red cat\n### Assistant: gladly",
                "a red cat\nSystem: x",
            ),
            *(
                "a red cat\nNegative prompt: fog",
                "a red cat, negative prompt: fog",
                "a red cat\nSteps: 20, Sampler: Euler",
                "a red cat; Negative: fog",
            ),
            *(
                "a red cat\n(Note: the fog is gone.)",
                "a red cat\n\nExplanation: no fog",
                "a red cat\nLet me know!",
                "a red cat\n反向提示词：雾",
            ),
        ],
    )
    def test_no_wrapping_and_no_tail_reaches_a_prompt(self, written: str, generation: Rubric) -> None:
        critique = parse_critique(f"{HEAD}{TWO}{OPEN_THIRD}## Score: N/A\n{TAIL[:-1]}{written}", generation)
        assert critique.refinement is not None
        assert critique.refinement.request == "a red cat"

    @pytest.mark.parametrize(
        "written",
        [
            'a sign "User: bob"',
            "a film negative: sharp",
            'a "Negative prompt: x" poster',
            "human: all too human",
            '{"a": "b", "c": "d"}',
        ],
    )
    def test_what_belongs_to_the_request_stays(self, written: str, generation: Rubric) -> None:
        critique = parse_critique(f"{HEAD}{TWO}{OPEN_THIRD}## Score: N/A\n{TAIL[:-1]}{written}", generation)
        assert critique.refinement is not None
        assert critique.refinement.request == written
