"""expected and spread from token probabilities, on several scales, against hand arithmetic."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from rationalrewards_core.backends.base import Finish, Reply, TokenChoice
from rationalrewards_core.critique import Critique, Judgement
from rationalrewards_core.probabilities import score_statistics
from rationalrewards_core.rubric import Dimension, Rubric, Scale


def reply_of(*tokens: str | tuple[str, dict[str, float]]) -> Reply:
    choices = [
        TokenChoice(t, ((t, 1.0),)) if isinstance(t, str) else TokenChoice(t[0], tuple(t[1].items())) for t in tokens
    ]
    return Reply(text="".join(c.text for c in choices), finish=Finish.STOP, model="m", tokens=tuple(choices))


FIRST, SECOND, THIRD = (
    "1. Text Faithfulness:\n## Score: ",
    "\n2. Physical and Visual Quality:\n## Score: ",
    "\n3. Text Rendering:\n## Score: ",
)


def critique_of(first: float | None, second: float | None, third: float | None = None) -> Critique:
    keys = ("text_faithfulness", "physical_quality", "text_rendering")
    scores = (first, second, third)
    return Critique(
        rubric="generation",
        judgements=tuple(Judgement(key=k, justification="", score=s) for k, s in zip(keys, scores, strict=True)),
    )


def on_one_dimension(
    scale: Scale, score: float, *tokens: str | tuple[str, dict[str, float]]
) -> tuple[float, float] | None:
    rubric = Rubric(name="r", kind="generation", dimensions=(Dimension(key="mood", title="Mood"),), scale=scale)
    critique = Critique(rubric="r", judgements=(Judgement(key="mood", justification="", score=score),))
    return score_statistics(reply_of("1. Mood:\n## Score: ", *tokens), critique, rubric).get("mood")


def test_certain_digits_have_no_spread(generation: Rubric) -> None:
    reply = reply_of(FIRST, "3", ".", "5", SECOND, "4", ".", "0", f"{THIRD}N/A")
    found = score_statistics(reply, critique_of(3.5, 4.0), generation)
    assert found["text_faithfulness"] == (pytest.approx(3.5), pytest.approx(0.0))
    assert found["physical_quality"] == (pytest.approx(4.0), pytest.approx(0.0))
    assert "text_rendering" not in found


def test_mixture_of_levels_and_tenths(generation: Rubric) -> None:
    reply = reply_of(
        FIRST, ("3", {"3": 0.6, "2": 0.2, "x": 0.2}), ".", ("4", {"4": 0.5, "6": 0.5}),
        SECOND, ("4", {"4": 0.75, "3": 0.25}), ".", "0",
    )  # fmt: skip
    found = score_statistics(reply, critique_of(3.4, 4.0), generation)
    # Levels 3 and 2 at .75 and .25; level 3 has mean 3.5 and variance .01, level 2 is taken at 2.45 with .0825.
    mean = 0.75 * 3.5 + 0.25 * 2.45
    variance = 0.75 * (0.01 + (3.5 - mean) ** 2) + 0.25 * (0.0825 + (2.45 - mean) ** 2)
    assert found["text_faithfulness"] == (pytest.approx(mean), pytest.approx(math.sqrt(variance)))
    mean = 0.75 * 4 + 0.25 * 3.45
    assert found["physical_quality"][0] == pytest.approx(mean), "the maximum has no tenths"


def test_two_digits_on_a_scale_to_ten() -> None:
    ten = Scale(minimum=0, maximum=10, decimals=0)
    assert on_one_dimension(ten, 10.0, ("10", {"10": 0.9, "9": 0.1}), "\n") == (pytest.approx(9.9), pytest.approx(0.3))
    by_digits = on_one_dimension(ten, 10.0, ("1", {"1": 0.8, "9": 0.2}), ("0", {"0": 0.75, "\n": 0.25}), "\n")
    assert by_digits is not None
    assert by_digits[0] == pytest.approx(0.2 * 9 + 0.8 * (0.75 * 10 + 0.25 * 1))
    ended = on_one_dimension(ten, 1.0, "1", ("\n", {"\n": 0.5, "0": 0.5}))
    assert ended == (pytest.approx(5.5), pytest.approx(4.5)), "10 was as likely as 1"


def test_three_digits_and_two_decimals() -> None:
    hundred = Scale(minimum=0, maximum=100, decimals=0)
    assert on_one_dimension(hundred, 100.0, ("100", {"100": 0.5, "90": 0.5}), "\n") == (
        pytest.approx(95.0),
        pytest.approx(5.0),
    )
    fine = Scale(minimum=9, maximum=12, decimals=2)
    found = on_one_dimension(fine, 11.25, "11", ".", "2", ("5", {"5": 0.5, "0": 0.5}), "\n")
    assert found == (pytest.approx(11.225), pytest.approx(0.025))


SIGNED = Scale(minimum=-2, maximum=2)


@pytest.mark.parametrize("minus", ["-", " -", "\u2212"])
def test_a_sign_of_its_own_token(minus: str) -> None:
    tokens = (minus, {minus: 0.75, "1": 0.25}), ("1", {"1": 0.5, "0": 0.5}), ".", ("5", {"5": 0.5, "0": 0.5})
    found = on_one_dimension(SIGNED, -1.5, *tokens, "\n")
    ends = [0.375 * 0.5, 0.375 * 0.5, 0.375, 0.25]
    means = [-1.5, -1.0, -0.5, 1.45]
    spreads = [0.0, 0.0, sum((n / 10) ** 2 for n in range(1, 10)) / 9 - 0.25, 0.0825]
    mean = sum(p * m for p, m in zip(ends, means, strict=True))
    variance = sum(p * (v + (m - mean) ** 2) for p, m, v in zip(ends, means, spreads, strict=True))
    assert found == (pytest.approx(mean), pytest.approx(math.sqrt(variance)))


def test_signs_inside_tokens() -> None:
    whole = Scale(minimum=-10, maximum=10, decimals=0)
    certain = on_one_dimension(whole, -10.0, ("-10", {"-10": 0.5, "\u221210": 0.25, "10": 0.25}), "\n")
    assert certain == (pytest.approx(-5.0), pytest.approx(math.sqrt(75.0))), "10 below zero is 10 below zero"
    plus = on_one_dimension(whole, 4.0, ("+", {"+": 0.75, "-": 0.25}), "4", "\n")
    mean = 0.75 * 4 - 0.25 * 5.5  # a minus begins -1 to -10, whose variance is 8.25
    variance = 0.75 * (4 - mean) ** 2 + 0.25 * (8.25 + (-5.5 - mean) ** 2)
    assert plus == (pytest.approx(mean), pytest.approx(math.sqrt(variance)))


def test_a_dash_after_a_score_is_no_part_of_it(generation: Rubric) -> None:
    reply = reply_of(FIRST, "3", ".", "5", "-", " a good one", SECOND, "4", ".", "0", f"{THIRD}N/A")
    found = score_statistics(reply, critique_of(3.5, 4.0), generation)
    assert found["text_faithfulness"] == (pytest.approx(3.5), pytest.approx(0.0))


def test_tokens_away_from_the_scores_need_no_alternatives(generation: Rubric) -> None:
    whole = reply_of(FIRST, "3", ".", "5", SECOND, "4", ".", "0", f"{THIRD}N/A")
    thin = tuple(t if t.text.isdigit() else replace(t, alternatives=()) for t in whole.tokens)
    found = score_statistics(replace(whole, tokens=thin), critique_of(3.5, 4.0), generation)
    assert found == score_statistics(whole, critique_of(3.5, 4.0), generation)
    bare = tuple(replace(t, alternatives=()) for t in whole.tokens)
    assert score_statistics(replace(whole, tokens=bare), critique_of(3.5, 4.0), generation) == {}


def test_scores_belong_to_the_dimension_they_stand_under(generation: Rubric) -> None:
    swapped = reply_of(
        "1. Physical and Visual Quality:\n## Score: ", ("2", {"2": 0.5, "1": 0.5}), ".", "0",
        "\n2. Text Faithfulness:\n## Score: ", "3", ".", "5", f"{THIRD}N/A",
    )  # fmt: skip
    found = score_statistics(swapped, critique_of(3.5, 2.0), generation)
    assert found["text_faithfulness"] == (pytest.approx(3.5), pytest.approx(0.0))
    assert found["physical_quality"][1] > 0.2


def test_probabilities_of_another_text_are_not_believed(generation: Rubric) -> None:
    reply = reply_of(FIRST, "3", ".", "5", SECOND, "4", ".", "0", f"{THIRD}N/A")
    said = replace(reply, text=reply.text.replace("3.5", "1.5"))
    assert score_statistics(said, critique_of(1.5, 4.0), generation) == {}
    draft = reply_of(FIRST, "1", ".", "0", SECOND, "1", ".", "0", f"{THIRD}N/A\n</think>\n").tokens
    after_thinking = replace(reply, tokens=(*draft, *reply.tokens))
    assert score_statistics(after_thinking, critique_of(3.5, 4.0), generation)["text_faithfulness"][0] == 3.5


def test_other_scripts_split_over_tokens_do_no_harm(generation: Rubric) -> None:
    reply = reply_of(
        "1. Text Faithfulness:\n## Justification: ", "\ufffd", "\ufffd", "\n## Score: ", "3", ".", "5", "\n"
    )
    found = score_statistics(
        replace(reply, text=reply.text.replace("\ufffd\ufffd", "色")), critique_of(3.5, 4.0), generation
    )
    assert found["text_faithfulness"] == (pytest.approx(3.5), pytest.approx(0.0))


def test_no_tokens_give_nothing(generation: Rubric) -> None:
    plain = Reply(text=f"{FIRST}3.5", finish=Finish.STOP, model="m")
    assert score_statistics(plain, critique_of(3.5, 3.5), generation) == {}


def test_a_score_quoted_in_prose_is_not_taken_for_one(generation: Rubric) -> None:
    reply = reply_of(
        "1. Text Faithfulness:\n## Justification: the sign says my Score: 1 today\n## Score: ", "3", ".", "5"
    )
    found = score_statistics(reply, critique_of(3.5, 4.0), generation)
    assert found["text_faithfulness"][0] == pytest.approx(3.5)


def test_a_token_that_is_none_of_its_alternatives_tells_nothing() -> None:
    scale = Scale(minimum=1, maximum=4)
    assert on_one_dimension(scale, 3.5, ("3", {"1": 0.6, "2": 0.2}), ".", "5", "\n") is None
    whole = on_one_dimension(scale, 3.5, ("3", {"3": 0.2, "1": 0.6}), ".", "5", "\n")
    assert whole is not None
    assert whole[0] < 3.0


@pytest.mark.parametrize("impossible", [0.0, math.nan])
def test_alternatives_without_a_probability_tell_nothing(impossible: float) -> None:
    scale = Scale(minimum=1, maximum=4)
    assert on_one_dimension(scale, 3.5, ("3", {"3": impossible, "1": impossible}), ".", "5", "\n") is None
    certain = on_one_dimension(scale, 3.5, ("3", {"3": 1.0, "1": impossible}), ".", "5", "\n")
    assert certain == (pytest.approx(3.5), pytest.approx(0.0))


def test_rows_missing_at_the_end_cost_only_the_scores_they_spell(generation: Rubric) -> None:
    """llama.cpp leaves out as many tokens as the stop text it cut off has of its own."""
    whole = reply_of(FIRST, "3", ".", "5", SECOND, ("4", {"4": 0.75, "3": 0.25}), ".", "0", f"{THIRD}N/A")
    every = score_statistics(whole, critique_of(3.5, 4.0), generation)
    for missing in range(1, len(whole.tokens)):
        kept = score_statistics(replace(whole, tokens=whole.tokens[:-missing]), critique_of(3.5, 4.0), generation)
        full = ["text_faithfulness"] * (missing <= 4) + ["physical_quality"] * (missing == 0)
        assert list(kept) == full, f"{missing} are missing"
        assert all(kept[key] == every[key] for key in kept)


def test_a_number_cut_in_its_middle_by_missing_rows_is_not_read(generation: Rubric) -> None:
    whole = reply_of(FIRST, "3", ".", "5", "\n", SECOND, "4", ".", "0")
    cut = replace(whole, tokens=whole.tokens[:2])  # spells "3" where the reply says 3.5
    assert score_statistics(cut, critique_of(3.5, 4.0), generation) == {}
