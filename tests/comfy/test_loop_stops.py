"""Stopping, interrupting and failing in the middle of a loop: nothing is lost, and the next run works."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from rationalrewards_core.loop.history import load_history
from tests.comfy.comfy_client import Client, Run
from tests.comfy.comfy_server import ComfyServer
from tests.comfy.conftest import one_mode
from tests.comfy.graphs import SHOWN, loop

STOP = "/rationalrewards/loop/stop"


def after_iterations(count: int, path: str, body: Any, answers: list[Any]) -> Callable[..., Awaitable[None]]:
    """Post once, as soon as `count` iterations are done; the answer is put into `answers`."""

    async def during(client: Client, run: Run, _kind: str, _content: dict[str, Any]) -> None:
        if len(run.loops) >= count and not answers:
            answers.append(None)  # further events come while the answer does
            wish = {**body, "prompt_id": run.prompt_id} if body else body
            answers[0] = await client.request("POST", path, wish)

    return during


def slow_loop(request: str, rewards: str = "0.3 0.6 0.1") -> dict[str, Any]:
    return loop(rewards, request=request, generates={"seconds": 0.4}, max_iterations=8)


def test_stop_after_this_iteration_hands_on_the_best_so_far(client: Client) -> None:
    answers: list[Any] = []
    run = client.run(slow_loop("a stopped cat"), after_iterations(2, STOP, {"node": "end"}, answers))
    assert answers == [(200, {"stopping": True})]
    assert run.status == "success"
    assert run.text(SHOWN["iterations"]) == "3", "the iteration that was running is finished"
    assert float(run.text(SHOWN["reward"])) == 0.6
    state = run.ui("end", "rr_loop")[-1]
    assert (state["stopped"], state["running"], state["best"]) == ("stopped", False, 1)
    assert len(run.ui("best", "images")) == 1


def test_a_stopped_loop_goes_on_when_it_is_queued_again(client: Client) -> None:
    """Nothing in the graph has changed, so every cache would answer with the stopped end."""
    prompt = slow_loop("a resumed cat", "0.3 0.4 0.9")
    stopped = client.run(prompt, after_iterations(0, STOP, {"node": "end"}, []))
    assert stopped.text(SHOWN["iterations"]) == "1"
    assert client.run(prompt).text(SHOWN["iterations"]) == "3"


def test_a_stop_before_the_first_critique_counts_and_does_not_outlive_its_run(client: Client) -> None:
    answers: list[Any] = []
    run = client.run(slow_loop("an early cat"), after_iterations(0, STOP, {"node": "end"}, answers))
    assert answers == [(200, {"stopping": True})]
    assert run.text(SHOWN["iterations"]) == "1"
    again = client.run(loop("0.3 0.6 0.1", request="an early cat", max_iterations=3))
    assert again.text(SHOWN["iterations"]) == "3"


@one_mode
def test_no_running_loop_no_stop(client: Client) -> None:
    run = client.run(loop("0.9"))
    status, answer = client.post(STOP, {"prompt_id": run.prompt_id, "node": "end"})
    assert (status, answer) == (404, {"error": "No such loop is running."})


def test_an_interrupt_loses_no_iteration(client: Client, server: ComfyServer) -> None:
    answers: list[Any] = []
    run = client.run(slow_loop("an interrupted cat"), after_iterations(2, "/interrupt", {}, answers))
    assert run.interrupted
    assert run.status == "error"
    rows = run.loops[-1]["iterations"]
    assert len(rows) >= 2
    folder = server.temp / Path(rows[0]["image"]["subfolder"])
    saved = load_history(folder)
    assert saved.request.text == "an interrupted cat"
    assert [step.reward for step in saved.steps][:2] == [row["reward"] for row in rows][:2]
    assert all(step.image is not None for step in saved.steps)
    assert saved.best is not None
    assert saved.best.index == 1
    status, answer = client.get(f"/rationalrewards/loops?prompt_id={run.prompt_id}")
    (state,) = answer["loops"]
    assert (status, state["running"], state["stopped"]) == (200, False, "interrupted")
    again = client.run(loop("0.3 0.6 0.1", request="an interrupted cat", max_iterations=3))
    assert (again.status, again.text(SHOWN["iterations"])) == ("success", "3")


@one_mode
def test_an_error_in_the_body_keeps_what_was_done_and_the_next_run_works(client: Client, server: ComfyServer) -> None:
    broken = loop("0.3 0.6 oops", request="a broken cat", max_iterations=5)
    run = client.run(broken)
    assert "oops" in run.error
    rows = run.loops[-1]["iterations"]
    assert len(rows) == 2
    assert len(load_history(server.temp / rows[0]["image"]["subfolder"]).steps) == 2
    assert client.run(loop("0.9", request="a mended cat")).text(SHOWN["reached"]) == "True"
