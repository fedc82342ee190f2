"""Comparison replies, both orders as one, and the rewards a verdict comes from."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rationalrewards_core.comparison import (
    Comparison,
    PairJudgement,
    Verdict,
    agreed,
    pair_rewards,
    parse_comparison,
    verdict_of_rewards,
)
from rationalrewards_core.errors import CritiqueParseError
from rationalrewards_core.replies.parsing import Reason
from rationalrewards_core.rubric import Rubric
from rationalrewards_core.rubric_file import generation_rubric

Score = float | None
Scores = tuple[Score, Score]
TITLES = ("Text Faithfulness", "Physical and Visual Quality", "Text Rendering")
PARTS = (
    "# Detailed Judgement", "# Summary: A is better.", "## Score A: 3.0", "## Score B: N/A", "## Winner: Image B", "## Score: 2",
    "1. Text Faithfulness:", "2. Physical and Visual Quality:", "3. Text Rendering:", "## Justification: seen", "Score A:", "3,5/4",
    "```", "<think>", "", "\x00", "# User Request Refinement:", "**Winner**: **A**",
)  # fmt: skip


def shown(score: Score) -> str:
    return "N/A" if score is None else f"{score:.2f}"


def block(number: int, scores: Scores, winner: str | None = None) -> str:
    lines = [f"{number}. {TITLES[number - 1]}:", "## Justification: compared"]
    lines += [f"## Score A: {shown(scores[0])}", f"## Score B: {shown(scores[1])}"]
    return "\n".join([*lines, f"## Winner: {winner}"] if winner is not None else lines)


def reply(*pairs: Scores, winners: tuple[str | None, ...] = (None, None, None), summary: str = "Done.") -> str:
    blocks = [block(n, pair, winner) for n, (pair, winner) in enumerate(zip(pairs, winners, strict=False), 1)]
    return "\n".join(["# Detailed Judgement", *blocks, f"# Summary: {summary}"])


def comparison(*pairs: Scores) -> Comparison:
    return parse_comparison(reply(*pairs), generation_rubric())


def judged(*pairs: Scores) -> tuple[PairJudgement, ...]:
    keys = [d.key for d in generation_rubric().dimensions]
    return tuple(
        PairJudgement(key=key, justification="", score_a=a, score_b=b) for key, (a, b) in zip(keys, pairs, strict=True)
    )


def refused(text: str) -> str:
    with pytest.raises(CritiqueParseError) as caught:
        parse_comparison(text, generation_rubric())
    assert caught.value.raw == text
    return caught.value.reason


WHOLE = reply((3.5, 2.0), (3.5, 2.0), (3.5, 2.0), winners=("Image A",) * 3)


def never_turned(text: str) -> bool:
    """Whether a damaged `WHOLE` is read; if so, with its own scores or those of the line put in."""
    try:
        found = parse_comparison(text, generation_rubric())
    except CritiqueParseError:
        return False
    for judgement in found.judgements:
        assert judgement.score_a in (3.5, 3.0, None), text
        assert judgement.score_b in (2.0, None), text
    return True


class TestReply:
    def test_scores_of_both(self) -> None:
        found = comparison((3.5, 2.0), (3.0, 3.5), (None, None))
        assert [(j.score_a, j.score_b) for j in found.judgements] == [(3.5, 2.0), (3.0, 3.5), (None, None)]
        assert [j.key for j in found.judgements] == ["text_faithfulness", "physical_quality", "text_rendering"]
        assert (found.verdict, found.orders_agree, found.summary) == (Verdict.A, None, "Done.")
        assert found.judgements[0].justification == "compared"

    def test_equal_rewards_are_a_tie(self) -> None:
        assert comparison((3.5, 3.0), (3.0, 3.5), (2.0, 2.0)).verdict is Verdict.TIE
        assert comparison((3.1, 3.0), (3.0, 3.1), (None, None)).verdict is Verdict.TIE, "whatever floats make of it"

    def test_na_for_one_leaves_the_dimension_out(self) -> None:
        assert comparison((2.0, 3.0), (3.0, 3.0), (4.0, None)).verdict is Verdict.B

    @pytest.mark.parametrize("winner", ["Image A", "A", "**Image A**", "image a.", '"A"', "Ａ"])
    def test_a_winner_with_the_lower_score_is_a_conflict(self, winner: str) -> None:
        pairs = ((2.0, 3.0), (3.0, 3.0), (None, None))
        assert refused(reply(*pairs, winners=(winner, None, None))) == Reason.CONFLICTING_SCORES.value
        swapped = ((3.0, 2.0), (3.0, 3.0), (None, None))
        assert parse_comparison(reply(*swapped, winners=(winner, None, None)), generation_rubric()).verdict is Verdict.A

    @pytest.mark.parametrize("winner", ["It's a tie", "N/A", "", "Image A is a little sharper", "C", "A or B", "AB"])
    def test_any_other_winner_decides_nothing(self, winner: str) -> None:
        text = reply((2.0, 3.0), (3.0, 3.0), (None, None), winners=(winner, None, None))
        assert parse_comparison(text, generation_rubric()).verdict is Verdict.B

    def test_a_winner_of_equal_scores_contradicts_nothing(self) -> None:
        text = reply((3.0, 3.0), (3.0, 3.0), (None, None), winners=("Image B", "Image A", "Image A"))
        assert parse_comparison(text, generation_rubric()).verdict is Verdict.TIE

    def test_what_is_not_there_is_named(self) -> None:
        pairs: tuple[Scores, ...] = ((3.0, 2.0), (3.0, 3.0), (None, None))
        whole = reply(*pairs)
        missing = "\n".join(["# Detailed Judgement", block(1, pairs[0]), block(3, pairs[2]), "# Summary: Done."])
        assert refused(missing) == Reason.MISSING_DIMENSION.value
        assert refused(whole.replace("\n## Score B: 2.00", "")) == Reason.MISSING_SCORE.value
        assert refused(whole.replace("Score B: 2.00", "Score B: N/A")) == Reason.NOT_OPTIONAL.value
        assert refused(whole.replace("Score B: 2.00", "Score B: 7")) == Reason.OUT_OF_SCALE.value
        assert refused(whole.replace("## Score B: 2.00", "## Score A: 2.00")) == Reason.CONFLICTING_SCORES.value
        assert refused(whole.replace("# Summary: Done.", "")) == Reason.TRUNCATED.value
        assert refused(whole.replace("Done.", "")) == Reason.TRUNCATED.value
        assert refused("") == Reason.EMPTY.value

    def test_a_critique_of_one_image_is_no_comparison(self) -> None:
        text = reply((3.0, 3.0), (3.0, 3.0), (None, None)).replace("Score A", "Score").replace("\n## Score B: 3.00", "")
        assert refused(text) in (Reason.MISSING_SCORE.value, Reason.TRUNCATED.value)

    @settings(max_examples=200, deadline=None)
    @given(st.one_of(st.lists(st.sampled_from(PARTS), max_size=18).map("\n".join), st.text(max_size=80)))
    def test_nothing_but_a_parse_error_comes_of_anything(self, text: str) -> None:
        try:
            found = parse_comparison(text, generation_rubric())
        except CritiqueParseError as error:
            assert error.reason in {reason.value for reason in Reason}
        else:
            assert all(j.score_a is not None and j.score_b is not None for j in found.judgements[:2])

    @settings(max_examples=200, deadline=None)
    @given(st.integers(0, len(WHOLE)), st.integers(0, 40), st.sampled_from(["", "\n"]))
    def test_lost_characters_never_turn_the_scores(self, start: int, length: int, put: str) -> None:
        never_turned(WHOLE[:start] + put + WHOLE[start + length :])

    def test_lost_and_foreign_lines_never_turn_the_scores(self) -> None:
        lines = WHOLE.split("\n")
        read = [
            never_turned("\n".join([*lines[:start], part, *lines[start + lost :]]))
            for start in range(len(lines))
            for lost in range(4)
            for part in PARTS
        ]
        assert 100 < sum(read) < len(read) / 2, "some damage is harmless, most is not"


class TestRewards:
    def test_over_the_dimensions_that_apply_to_both(self, generation: Rubric) -> None:
        # A: (2.5 + 0) / 3 / 2, B: (1 + 2) / 3 / 2; the third is N/A for one
        pairs = judged((3.5, 2.0), (1.0, 3.0), (4.0, None))
        assert pair_rewards(pairs, generation) == pytest.approx((2.5 / 6, 3.0 / 6))
        heavy = generation.with_weights({"text_faithfulness": 3.0, "text_rendering": 100.0})
        assert pair_rewards(pairs, heavy) == pytest.approx(((3 * 2.5 + 0) / 12, (3 * 1 + 2) / 12))

    def test_a_pair_with_nothing_to_compare_has_no_reward(self, generation: Rubric) -> None:
        with pytest.raises(ValueError, match="no dimension that applies to both"):
            pair_rewards(judged((None, None), (None, 3.0), (2.0, None)), generation)
        weightless = generation.with_weights({"physical_quality": 0.0})
        with pytest.raises(ValueError, match="no dimension that applies to both"):
            pair_rewards(judged((None, 1.0), (2.0, 3.0), (None, None)), weightless)

    def test_a_wrong_number_of_judgements_is_a_bug(self, generation: Rubric) -> None:
        with pytest.raises(ValueError, match="argument"):
            pair_rewards(judged((1.0, 2.0), (1.0, 2.0), (1.0, 2.0))[:2], generation)

    def test_the_margin_belongs_to_the_tie(self) -> None:
        assert verdict_of_rewards(0.5, 0.5) is Verdict.TIE
        assert verdict_of_rewards(0.5, 0.75, margin=0.25) is Verdict.TIE
        assert verdict_of_rewards(0.75, 0.5, margin=0.25) is Verdict.TIE
        assert verdict_of_rewards(0.75, 0.25, margin=0.25) is Verdict.A
        assert verdict_of_rewards(0.25, 0.75, margin=0.25) is Verdict.B
        assert [v.swapped for v in (Verdict.A, Verdict.B, Verdict.TIE)] == [Verdict.B, Verdict.A, Verdict.TIE]

    def test_json_is_a_copy(self) -> None:
        found = comparison((3.5, 2.0), (3.0, 3.5), (None, None))
        table = found.to_json()
        assert table["judgements"][2] == {
            "key": "text_rendering", "justification": "compared", "score_a": None, "score_b": None,
        }  # fmt: skip
        table["judgements"][0]["score_a"] = 1.0
        assert found.judgements[0].score_a == 3.5


scores = st.integers(100, 400).map(lambda hundredths: hundredths / 100)
pairs = st.tuples(
    st.tuples(scores, scores),
    st.tuples(scores, scores),
    st.tuples(st.one_of(st.none(), scores), st.one_of(st.none(), scores)),
)


class TestBothOrders:
    def both(self, forward: tuple[Scores, ...], swapped: tuple[Scores, ...]) -> Comparison:
        return agreed(comparison(*forward), comparison(*swapped), generation_rubric())

    def test_scores_are_averaged_over_the_orders(self) -> None:
        found = self.both(((3.0, 2.0), (3.0, 2.0), (None, None)), ((2.5, 4.0), (2.0, 3.0), (3.0, 3.0)))
        assert [(j.score_a, j.score_b) for j in found.judgements] == [(3.5, 2.25), (3.0, 2.0), (None, None)]
        assert (found.verdict, found.orders_agree, len(found.raw)) == (Verdict.A, True, 2)

    def test_contradicting_orders_make_a_tie(self) -> None:
        found = self.both(((4.0, 1.0), (4.0, 1.0), (None, None)), ((3.0, 2.9), (3.0, 3.0), (None, None)))
        assert (found.verdict, found.orders_agree) == (Verdict.TIE, False)
        assert found.judgements[0].score_a > found.judgements[0].score_b, "though the averages prefer A"

    def test_a_tie_in_one_order_leaves_it_to_the_averages(self) -> None:
        found = self.both(((3.0, 3.0), (3.0, 3.0), (None, None)), ((2.0, 3.0), (3.0, 3.0), (None, None)))
        assert (found.verdict, found.orders_agree) == (Verdict.A, False)

    def test_a_verdict_of_both_orders_stands_when_na_thins_the_averages(self) -> None:
        # The word decides for A in the first order and is N/A in the second; the averages of the rest prefer B.
        found = self.both(((2.0, 3.0), (3.0, 3.0), (4.0, 1.0)), ((2.9, 3.0), (3.0, 3.0), (None, None)))
        assert [found.judgements[0].score_a, found.judgements[0].score_b] == [2.5, 2.95]
        assert (found.verdict, found.orders_agree) == (Verdict.A, True)

    @settings(max_examples=150, deadline=None)
    @given(pairs, pairs)
    def test_swapping_the_candidates_swaps_everything(
        self, forward: tuple[Scores, ...], swapped: tuple[Scores, ...]
    ) -> None:
        first, second = comparison(*forward), comparison(*swapped)
        found, mirrored = agreed(first, second, generation_rubric()), agreed(second, first, generation_rubric())
        assert mirrored.verdict is found.verdict.swapped
        assert [(j.score_a, j.score_b) for j in found.judgements] == [
            (j.score_b, j.score_a) for j in mirrored.judgements
        ]
        assert found.orders_agree is mirrored.orders_agree is (first.verdict is second.verdict.swapped)
        if found.orders_agree:
            assert found.verdict is first.verdict

    @settings(max_examples=50, deadline=None)
    @given(pairs)
    def test_a_judge_that_knows_no_places_agrees_with_itself(self, forward: tuple[Scores, ...]) -> None:
        first = comparison(*forward)
        found = agreed(first, comparison(*((b, a) for a, b in forward)), generation_rubric())
        assert replace(found, orders_agree=None, raw=first.raw) == first
        assert found.orders_agree
