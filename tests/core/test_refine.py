"""The rules of the loop, as a pure function of what has happened."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rationalrewards_core.critique import Critique, Judgement, Refinement, Unscored
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.loop.policy import RefinePolicy
from rationalrewards_core.loop.refine import Move, RefineState, RefineStep, StopReason, next_move, seed_at
from rationalrewards_core.messages import UserRequest


def judged(score: float, refined: str = "a red cat, in full") -> Critique:
    return Critique(
        rubric="generation",
        judgements=(
            Judgement(key="text_faithfulness", justification="", score=score),
            Judgement(key="physical_quality", justification="", score=4.0),
        ),
        refinement=Refinement(comments="", request=refined),
    )


def state_of(*rewards: float | None, policy: RefinePolicy | None = None, score: float = 2.0) -> RefineState:
    """A state whose steps had these rewards, with failing critiques that refine to `refined N`."""
    state = RefineState(request=UserRequest("a red cat"), base_seed=5, policy=policy or RefinePolicy())
    for index, reward in enumerate(rewards):
        move = next_move(state)
        assert isinstance(move, Move)
        outcome = Unscored(reason="timeout", message="") if reward is None else judged(score, f"refined {index}")
        state = state.with_step(
            RefineStep(
                index=index,
                request=move.request,
                seed=move.seed,
                origin=move.origin,
                outcome=outcome,
                reward=reward,
                accepted=state.accepts(reward),
            )
        )
    return state


def test_first_move_is_the_original_request() -> None:
    assert next_move(state_of()) == Move("a red cat", 5, "original")


def test_refines_from_the_best_candidates_critique() -> None:
    assert next_move(state_of(0.4)) == Move("refined 0", 6, "refined")
    assert next_move(state_of(0.4, 0.6)) == Move("refined 1", 7, "refined")
    assert next_move(state_of(0.6, 0.4)) == Move("refined 0", 7, "refined")


def test_refines_from_the_latest_when_asked() -> None:
    policy = RefinePolicy(refine_from="latest")
    assert next_move(state_of(0.6, 0.4, policy=policy)) == Move("refined 1", 7, "refined")


def test_best_of_n_before_refining() -> None:
    policy = RefinePolicy(first=2)
    assert next_move(state_of(0.4, policy=policy)) == Move("a red cat", 6, "original")
    assert next_move(state_of(0.4, 0.3, policy=policy)) == Move("refined 0", 7, "refined")


def test_stops_when_the_threshold_is_reached_and_nothing_fails() -> None:
    policy = RefinePolicy(threshold=0.8)
    assert next_move(state_of(0.9, policy=policy, score=3.0)) is StopReason.REACHED
    assert isinstance(next_move(state_of(0.9, policy=policy, score=2.9)), Move), "a dimension still fails"


def test_budget_and_patience() -> None:
    assert next_move(state_of(0.4, 0.5, 0.6, 0.7)) is StopReason.BUDGET
    policy = RefinePolicy(patience=2, max_iterations=9)
    assert isinstance(next_move(state_of(0.5, 0.4, policy=policy)), Move)
    assert next_move(state_of(0.5, 0.4, 0.5, policy=policy)) is StopReason.PATIENCE
    assert isinstance(next_move(state_of(0.5, 0.4, 0.6, 0.1, policy=policy)), Move), (
        "an improvement starts the count anew"
    )


def test_margin_keeps_the_incumbent() -> None:
    state = state_of(0.5, 0.55, policy=RefinePolicy(minimum_gain=0.1))
    assert state.best is not None
    assert state.best.index == 0
    better = state_of(0.5, 0.61, policy=RefinePolicy(minimum_gain=0.1)).best
    assert better is not None
    assert better.index == 1


def test_an_equal_reward_does_not_replace_the_best() -> None:
    best = state_of(0.5, 0.5).best
    assert best is not None
    assert best.index == 0


def test_unscored_candidates_use_budget_and_never_become_best() -> None:
    state = state_of(None, None)
    assert state.best is None
    assert next_move(state) == Move("a red cat", 7, "original")
    assert next_move(state_of(None, None, None, None)) is StopReason.BUDGET
    best = state_of(0.1, None).best
    assert best is not None
    assert best.index == 0


def test_a_judge_that_knows_nothing_of_the_request_is_not_asked_again() -> None:
    state = state_of(None)
    (step,) = state.steps
    beyond = replace(step, outcome=Unscored(reason="out_of_scope", message="The judge knows no cats."))
    assert next_move(replace(state, steps=(beyond,))) is StopReason.OUT_OF_SCOPE


def test_request_stays_where_nothing_fails() -> None:
    assert next_move(state_of(0.7, score=3.0)) == Move("a red cat", 6, "refined")


def test_fixed_seed_never_repeats_a_picture() -> None:
    policy = RefinePolicy(seeds="fixed", max_iterations=9, patience=9)
    assert next_move(state_of(0.4, policy=policy)) == Move("refined 0", 5, "refined")
    # The best's refinement has been tried; the latest one's has not.
    assert next_move(state_of(0.4, 0.3, policy=policy)) == Move("refined 1", 5, "refined")
    # With nothing failing the request stays the same, and so would the picture.
    assert next_move(state_of(0.4, policy=policy, score=3.5)) is StopReason.NOTHING_NEW


@pytest.mark.parametrize("seeds", ["fixed", "increment", "random"])
def test_seeds_are_repeatable_and_start_at_the_base(seeds: str) -> None:
    state = RefineState(request=UserRequest("x"), base_seed=2**32 - 1, policy=RefinePolicy(seeds=seeds))  # type: ignore[arg-type]
    drawn = [seed_at(state, i) for i in range(6)]
    assert drawn == [seed_at(state, i) for i in range(6)]
    assert drawn[0] == 2**32 - 1
    assert all(0 <= seed < 2**32 for seed in drawn)
    assert len(set(drawn)) == (1 if seeds == "fixed" else 6)


def test_a_refinement_that_says_no_change_keeps_the_request() -> None:
    state = RefineState(request=UserRequest("a red cat"), base_seed=0, policy=RefinePolicy())
    for said in ("None.", "N/A", "No changes needed", "  "):
        step = RefineStep(
            index=0,
            request="a red cat",
            seed=0,
            origin="original",
            outcome=judged(2.0, said),
            reward=0.3,
            accepted=True,
        )
        move = next_move(state.with_step(step))
        assert isinstance(move, Move)
        assert move.request == "a red cat"


def test_what_the_user_fixed_survives_and_the_judges_own_syntax_does_not() -> None:
    """The loop itself keeps what Prompt Refine keeps, with no node in between."""
    request = "<lora:paper:0.8> a cat, (red hat:1.2), embedding:fine, __weather__, {dawn|dusk}, 「開」"
    refined = "A cat in a red hat <lora:own:1> embedding:own __own__ (soft light:1.4)<|im_end|>"
    state = RefineState(request=UserRequest(request), base_seed=0, policy=RefinePolicy())
    step = RefineStep(
        index=0, request=request, seed=0, origin="original", outcome=judged(2.0, refined), reward=0.3, accepted=True
    )
    move = next_move(state.with_step(step))
    assert isinstance(move, Move)
    assert move.request == (
        "A cat in a (red hat:1.2) soft light, <lora:paper:0.8>, embedding:fine, __weather__, {dawn|dusk}; keep 「開」"
    )


def test_an_unusable_rewriting_keeps_the_request_of_its_own_candidate() -> None:
    state = RefineState(request=UserRequest("a red cat"), base_seed=0, policy=RefinePolicy())
    step = RefineStep(
        index=0,
        request="a red cat, refined before",
        seed=0,
        origin="refined",
        outcome=judged(2.0, "<lora:own:1>"),
        reward=0.3,
        accepted=True,
    )
    move = next_move(state.with_step(step))
    assert isinstance(move, Move)
    assert move.request == "a red cat, refined before"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threshold", 1.5),
        ("minimum_gain", -0.1),
        ("minimum_score", float("nan")),
        ("minimum_score", float("inf")),
        ("minimum_scores", {"text_rendering": float("nan")}),
        ("patience", 0),
        ("max_iterations", 0),
        ("first", 9),
        ("seeds", "lucky"),
    ],
)
def test_impossible_policies_name_the_field(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match="text_rendering" if field == "minimum_scores" else field):
        RefinePolicy(**{field: value})  # type: ignore[arg-type]
