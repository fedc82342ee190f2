"""What a loop has done so far, how an iteration is judged, and when it ends."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from tests.nodes.comfy_stub import Pack


@pytest.fixture
def loop(pack: Pack) -> Any:
    return pack.module("nodes.loop.state")


@pytest.fixture
def critiques(pack: Pack) -> Any:
    """Critiques of one score per image (None: unscored) that ask for `refined`."""
    core, rubric = pack.core("critique"), pack.core("rubric_file").generation_rubric()

    def outcome(score: float | None, refined: str) -> Any:
        if score is None:
            return core.Unscored(reason="timeout", message="No answer came.")
        return core.Critique(
            rubric=rubric.name,
            judgements=tuple(core.Judgement(key=d.key, justification="", score=score) for d in rubric.dimensions),
            refinement=core.Refinement(comments="", request=refined),
        )

    def make(*scores: float | None, refined: str = "better") -> Any:
        request = pack.core("messages").UserRequest("a cat")
        outcomes = tuple(outcome(score, refined) for score in scores)
        return pack.module("nodes.sockets").Critiques(request=request, rubric=rubric, outcomes=outcomes)

    return make


@pytest.fixture
def begun(pack: Pack, loop: Any) -> Any:
    """An empty state under the given rules."""
    refine = pack.core("loop.refine")

    def make(seeds: str = "increment", **rules: Any) -> Any:
        policy = refine.RefinePolicy(**{"threshold": 0.9, "max_iterations": 4, "seeds": seeds, **rules})
        request = pack.core("messages").UserRequest("a cat")
        return loop.LoopState(refine=refine.RefineState(request=request, base_seed=7, policy=policy))

    return make


def flow(loop: Any, prompt: str = "a cat", seed: int = 7, iteration: int = 0) -> Any:
    return loop.Flow(original="a cat", base_seed=7, seeds="increment", prompt=prompt, seed=seed, iteration=iteration)


def played(loop: Any, state: Any, judged: list[Any], proposal: str | None = None) -> tuple[Any, Any]:
    """The state after these iterations, each with the move the one before decided, and the last decision."""
    asked, move = flow(loop), None
    for candidate in judged:
        state = state.with_step(state.step(asked, candidate, proposal), None, None)
        state, move = state.decided(False)
        if move is not None:
            asked = replace(asked, prompt=move.request, seed=move.seed, iteration=asked.iteration + 1)
    return state, move


def test_the_best_of_a_batch_is_judged(loop: Any, critiques: Any) -> None:
    judged = loop.best_of_batch(3, [critiques(2.0, 4.0, None)], None)
    assert (judged.index, judged.reward) == (1, 1.0)
    two_lists = loop.best_of_batch(3, [critiques(2.0), critiques(1.0, 3.0)], None)
    assert two_lists.index == 2


def test_the_first_of_equals_and_the_first_of_none(loop: Any, critiques: Any) -> None:
    assert loop.best_of_batch(2, [critiques(3.0, 3.0)], None).index == 0
    nothing = loop.best_of_batch(2, [critiques(None, None)], None)
    assert (nothing.index, nothing.reward, nothing.outcome.reason) == (0, None, "timeout")


def test_a_number_counts_before_the_critique_it_comes_with(loop: Any, critiques: Any, pack: Pack) -> None:
    judged = loop.best_of_batch(2, [critiques(4.0, 1.0)], [0.1, 0.6])
    assert (judged.index, judged.reward) == (1, 0.6)
    assert judged.outcome.judgements[0].score == 1.0
    alone = loop.best_of_batch(1, [], [0.6])
    assert isinstance(alone.outcome, pack.core("critique").Critique)


def test_a_nan_is_unscored_whatever_came_with_it(loop: Any, critiques: Any) -> None:
    assert loop.best_of_batch(1, [], [math.nan]).outcome.reason == "no_reward"
    assert loop.best_of_batch(1, [critiques(4.0)], [math.nan]).outcome.reason == "no_reward"
    assert loop.best_of_batch(1, [critiques(None)], [math.nan]).outcome.reason == "timeout"


@pytest.mark.parametrize(
    ("scores", "rewards", "sentence"),
    [
        ((), None, "needs a critique or a reward"),
        ((3.0,), None, "2 images and 1 critiques"),
        ((3.0, 3.0), [0.5], "2 images and 1 rewards"),
        ((), [0.5, 1.5], "lies between 0 and 1"),
        ((), [0.5, math.inf], "lies between 0 and 1"),
    ],
)
def test_what_cannot_be_judged_is_refused(
    loop: Any, critiques: Any, pack: Pack, scores: tuple[float, ...], rewards: Any, sentence: str
) -> None:
    with pytest.raises(pack.core("errors").ConfigError, match=sentence):
        loop.best_of_batch(2, [critiques(*scores)] if scores else [], rewards)


def test_it_ends_where_the_core_would(loop: Any, begun: Any, critiques: Any) -> None:
    def after(state: Any, *scores: float) -> Any:
        judged = [loop.best_of_batch(1, [critiques(score)], None) for score in scores]
        return played(loop, state, judged)[0]

    assert after(begun(), 2.0, 4.0).stop.value == "reached"
    assert after(begun(patience=1), 3.0, 2.0).stop.value == "patience"
    assert after(begun(max_iterations=2), 2.0, 2.5).stop.value == "budget"
    assert after(begun(), 2.0, 2.5).stop is None
    assert after(begun(threshold=0.5, minimum_score=3.0), 2.9).stop is None, "a dimension fails"
    same = after(begun(seeds="fixed", minimum_score=1.0), 2.0)
    assert same.stop.value == "nothing_new"


def test_the_next_prompt_is_the_graphs_before_the_judges(loop: Any, begun: Any, critiques: Any) -> None:
    judged = [loop.best_of_batch(1, [critiques(2.0, refined="the judge's")], None)]
    assert played(loop, begun(), judged)[1].request == "the judge's"
    move = played(loop, begun(), judged, proposal=" the graph's ")[1]
    assert (move.request, move.seed) == ("the graph's", 8)
    assert played(loop, begun(), judged, proposal="  ")[1].request == "a cat"


def test_a_wish_to_stop_yields_to_a_better_reason(loop: Any, begun: Any, critiques: Any) -> None:
    def decided(score: float) -> Any:
        state = begun()
        step = state.step(flow(loop), loop.best_of_batch(1, [critiques(score)], None), None)
        return state.with_step(step, None, None).decided(True)

    state, move = decided(2.0)
    assert (state.stop.value, move) == ("stopped", None)
    assert decided(4.0)[0].stop.value == "reached"


def test_what_is_handed_on(loop: Any, begun: Any, critiques: Any) -> None:
    def rows(*scores: float | None) -> Any:
        judged = [loop.best_of_batch(1, [critiques(score)], None) for score in scores]
        return played(loop, begun(max_iterations=3), judged)[0]

    assert rows(2.0, 3.0, 2.5).chosen("best").index == 1
    assert rows(2.0, 3.0, 2.5).chosen("last").index == 2
    assert rows(None, None).chosen("best").index == 1, "nothing was scored"


def test_the_page_and_the_history_hold_every_iteration(loop: Any, begun: Any, critiques: Any) -> None:
    state = begun(max_iterations=2)
    first = state.step(flow(loop), loop.best_of_batch(1, [critiques(None)], None), None)
    saved = {"filename": "step_000.png", "subfolder": "x", "type": "temp"}
    state = state.with_step(first, {"reward": None}, saved)
    second = state.step(flow(loop, "better", 8, 1), loop.best_of_batch(1, [], [0.5]), None)
    state, _ = state.with_step(second, None, saved).decided(False)
    page = state.to_page(loop.LoopPlace(node="12:5", prompt_id="p", workflow="w", client="browser"))
    assert (page["node"], page["prompt_id"], page["running"], page["stopped"]) == ("12:5", "p", False, "budget")
    assert (page["best"], page["reached"], page["max_iterations"]) == (1, False, 2)
    assert page["iterations"][0]["unscored"] == {"reason": "timeout", "message": "No answer came."}
    assert page["iterations"][1] == {
        "index": 1,
        "prompt": "better",
        "seed": 8,
        "reward": 0.5,
        "unscored": None,
        "proposal": None,
        "image": saved,
        "card": None,
    }
    assert (page["workflow"], "client" in page) == ("w", False)
    event = state.to_event(loop.LoopPlace(node="12:5", prompt_id="p", workflow="w"))
    assert {**event, "iterations": page["iterations"], "row": None} == {**page, "row": None}
    assert event["row"] is page["iterations"][-1]
    json.dumps(page, allow_nan=False)
    history = json.loads(state.to_history())
    assert [row["reward"] for row in history["iterations"]] == [None, 0.5]
    assert page["ending"].startswith("All images of the budget are used.")


def test_a_reason_nobody_knows_yet_is_told_by_its_own_sentence(
    pack: Pack, loop: Any, begun: Any, critiques: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    refine = pack.core("loop.refine")
    eclipse = str.__new__(refine.StopReason, "eclipse")
    eclipse._name_, eclipse._value_, eclipse.sentence = "ECLIPSE", "eclipse", "The sun went out."
    monkeypatch.setattr(loop, "next_move", lambda _: eclipse)
    judged = [loop.best_of_batch(1, [critiques(2.0)], None)]
    state, move = played(loop, begun(), judged)
    assert (state.stop, move) == (eclipse, None)
    page = state.to_page(loop.LoopPlace(node="1", prompt_id="p"))
    assert (page["stopped"], page["running"]) == ("eclipse", False)
    assert page["ending"].startswith("The sun went out. The best image falls short: reward 0.33 is below 0.90")
    assert json.loads(state.to_history())["stopped"] == "eclipse"
