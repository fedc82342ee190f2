"""A loop that waits after each critique: its user changes, takes or skips the next prompt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tests.comfy.comfy_client import Client, Run
from tests.comfy.conftest import one_mode
from tests.comfy.graphs import SHOWN, loop, making

ANSWER = "/rationalrewards/loop/answer"
pytestmark = one_mode


def paused(request: str, **ends: Any) -> dict[str, Any]:
    rules = {"max_iterations": 3, "minimum_score": 3.0, "pause": True, **ends}
    return loop("0.2 0.3 0.4", request=request, refined="a judge's cat", **rules)


def answering(*answers: dict[str, Any], path: str = ANSWER) -> tuple[Callable[..., Awaitable[None]], list[Any]]:
    """Answers one after the other, whenever the loop waits; what it waited with is in the list."""
    left, asked = list(answers), []

    async def during(client: Client, run: Run, kind: str, content: dict[str, Any]) -> None:
        if kind == "rationalrewards.loop" and run.loops[-1]["waiting"] and left:
            asked.append(run.loops[-1]["waiting"])
            answer = {} if path == "/interrupt" else {"prompt_id": run.prompt_id, "node": "end", **left.pop(0)}
            status, said = await client.request("POST", path, answer)
            assert status == 200, said

    return during, asked


def test_the_next_prompt_is_changed_or_skipped(client: Client) -> None:
    during, asked = answering({"answer": "take", "prompt": "my own cat"}, {"answer": "skip"})
    run = client.run(paused("a paused cat"), during)
    assert run.error == ""
    assert asked == [{"prompt": "a judge's cat 1", "seed": 8}, {"prompt": "a judge's cat 2", "seed": 9}]
    rows = run.ui("end", "rr_loop")[-1]["iterations"]
    assert [row["prompt"] for row in rows] == ["a paused cat", "my own cat", "my own cat"]
    assert run.loops[-1]["waiting"] is None
    again, made = making(client, paused("a paused cat", threshold=0.81))
    assert (made, again.text(SHOWN["prompt"])) == (0, "my own cat"), "what was answered is not asked again"


def test_stop_ends_it_and_an_interrupt_ends_the_run(client: Client) -> None:
    during, asked = answering({}, path="/rationalrewards/loop/stop")
    run = client.run(paused("a stopped paused cat"), during)
    assert (len(asked), run.text(SHOWN["iterations"])) == (1, "1")
    assert run.ui("end", "rr_loop")[-1]["stopped"] == "stopped"
    during, _ = answering({}, path="/interrupt")
    assert client.run(paused("an interrupted paused cat"), during).interrupted


def test_an_answer_that_nobody_waits_for_is_refused(client: Client) -> None:
    run = client.run(loop("0.9", request="an unpaused cat"))
    answer = {"prompt_id": run.prompt_id, "node": "end", "answer": "skip"}
    assert client.post(ANSWER, answer)[0] == 404
    assert client.post(ANSWER, {**answer, "answer": "take", "prompt": " "})[0] == 400
    assert client.post(ANSWER, {"answer": "later"})[0] == 400
