"""Critique -> reward, against hand arithmetic."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rationalrewards_core.critique import Critique, Judgement
from rationalrewards_core.reward import failing, reward, reward_spread
from rationalrewards_core.rubric import Rubric, Scale


def critique(faithfulness: float, quality: float, text: float | None) -> Critique:
    scores = {"text_faithfulness": faithfulness, "physical_quality": quality, "text_rendering": text}
    return Critique(
        rubric="generation",
        judgements=tuple(Judgement(key=k, justification="", score=s) for k, s in scores.items()),
    )


def test_mean_of_normalised_scores(generation: Rubric) -> None:
    # (3.5-1)/3 = .8333, (2.5-1)/3 = .5, (1-1)/3 = 0
    assert reward(critique(3.5, 2.5, 1.0), generation) == pytest.approx((2.5 + 1.5 + 0.0) / 9)


def test_na_leaves_the_mean_with_its_weight(generation: Rubric) -> None:
    assert reward(critique(4.0, 1.0, None), generation) == pytest.approx(0.5)
    heavy = generation.with_weights({"text_rendering": 10.0})
    assert reward(critique(4.0, 1.0, None), heavy) == pytest.approx(0.5)
    assert reward(critique(4.0, 1.0, 4.0), heavy) == pytest.approx((1 + 0 + 10) / 12)


def test_bounds(generation: Rubric) -> None:
    assert reward(critique(1.0, 1.0, 1.0), generation) == 0.0
    assert reward(critique(4.0, 4.0, None), generation) == 1.0


def test_a_scale_with_negative_scores(generation: Rubric) -> None:
    bare = tuple(replace(d, anchors=()) for d in generation.dimensions)
    signed = replace(generation, dimensions=bare, scale=Scale(minimum=-2, maximum=2))
    assert reward(critique(-2.0, -2.0, None), signed) == 0.0
    assert reward(critique(2.0, 2.0, 2.0), signed) == 1.0
    assert reward(critique(-1.0, 0.0, 2.0), signed) == pytest.approx((0.25 + 0.5 + 1.0) / 3)
    assert failing(critique(-1.0, 0.0, None), {}, -0.5) == ("text_faithfulness",)
    assert (signed.scale.format(-0.04), signed.scale.format(-0.5)) == ("0.0", "-0.5")


def test_expected_scores_are_used_where_there_are_any(generation: Rubric) -> None:
    plain = critique(4.0, 4.0, None)
    first = replace(plain.judgements[0], expected=2.5)
    mixed = replace(plain, judgements=(first, *plain.judgements[1:]))
    assert reward(mixed, generation) == 1.0
    assert reward(mixed, generation, expected=True) == pytest.approx((0.5 + 1.0) / 2)


def test_image_faithfulness_counts_for_edits(edit: Rubric) -> None:
    scores = (4.0, 1.0, 4.0, None)
    judged = tuple(
        Judgement(key=d.key, justification="", score=s) for d, s in zip(edit.dimensions, scores, strict=True)
    )
    assert reward(Critique(rubric="edit", judgements=judged), edit) == pytest.approx(2 / 3)


def test_failing_uses_the_minimum_of_each_dimension() -> None:
    assert failing(critique(3.0, 2.9, None), {}, 3.0) == ("physical_quality",)
    assert failing(critique(3.0, 2.9, None), {"text_faithfulness": 3.5, "physical_quality": 2.0}, 3.0) == (
        "text_faithfulness",
    )


def test_spread_of_a_reward_by_hand(generation: Rubric) -> None:
    judged = critique(3.0, 2.0, None)
    spreads = (0.6, 0.3, None)
    known = replace(
        judged, judgements=tuple(replace(j, spread=s) for j, s in zip(judged.judgements, spreads, strict=True))
    )
    # Steps of the reward are scores / 3: .2 and .1, each with weight 1/2: sqrt(.2**2 + .1**2) / 2
    assert reward_spread(known, generation) == pytest.approx(0.05**0.5 / 2)
    heavy = generation.with_weights({"text_faithfulness": 3.0})
    assert reward_spread(known, heavy) == pytest.approx((0.6**2 + 0.1**2) ** 0.5 / 4)


def test_spread_is_unknown_where_a_dimension_that_counts_has_none(generation: Rubric) -> None:
    judged = critique(3.0, 2.0, None)
    assert reward_spread(judged, generation) is None
    first = replace(judged, judgements=(replace(judged.judgements[0], spread=0.6), *judged.judgements[1:]))
    assert reward_spread(first, generation) is None
    assert reward_spread(first, generation.with_weights({"physical_quality": 0.0})) == pytest.approx(0.2)


@pytest.mark.parametrize("score", [float("nan"), 0.5, 4.5, float("inf")])
def test_a_score_off_the_scale_is_an_error_and_not_bent_into_it(score: float, generation: Rubric) -> None:
    with pytest.raises(ValueError, match="physical_quality"):
        reward(critique(4.0, score, None), generation)
