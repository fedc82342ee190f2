"""A person overrules the judge: the next run hands on another iteration, and makes nothing for it."""

from __future__ import annotations

from typing import Any

from tests.comfy.comfy_client import Client
from tests.comfy.comfy_server import ComfyServer
from tests.comfy.conftest import one_mode
from tests.comfy.graphs import SHOWN, making
from tests.comfy.test_replay import shown, through

HAND_ON = "/rationalrewards/loop/hand_on"


def chosen(client: Client, run: Any, iteration: int | None, **more: Any) -> tuple[int, Any]:
    return client.post(HAND_ON, {"prompt_id": run.prompt_id, "node": "end", "iteration": iteration, **more})


def test_the_next_run_hands_on_the_one_that_was_wanted(client: Client) -> None:
    prompt = shown("an overruled cat", max_iterations=3)
    judged, _ = making(client, prompt)
    assert judged.text(SHOWN["seed"]) == "8"
    assert chosen(client, judged, 2) == (200, {"iteration": 2, "preferred": False})
    wanted, made = making(client, prompt)
    assert made == 0
    assert (wanted.text(SHOWN["seed"]), wanted.text(SHOWN["iterations"])) == ("9", "3")
    assert wanted.text("digest") != judged.text("digest")
    state = wanted.ui("end", "rr_loop")[-1]
    assert (state["overruled"], state["best"]) == (2, 1)
    assert chosen(client, wanted, None)[0] == 200
    again, made = making(client, prompt)
    assert (made, again.text("digest")) == (0, judged.text("digest"))


@one_mode
def test_it_becomes_a_preference_if_that_is_wanted(client: Client, server: ComfyServer) -> None:
    run, _ = making(client, shown("a preferred cat", max_iterations=2))
    assert chosen(client, run, 0, dataset="overruled") == (200, {"iteration": 0, "preferred": True})
    status, tally = client.get("/rationalrewards/preferences/overruled")
    assert (status, tally["question"]["choice"]) == (200, 0)
    assert chosen(client, run, 1, dataset="overruled") == (200, {"iteration": 1, "preferred": False})


@one_mode
def test_what_cannot_be_handed_on_is_said(client: Client) -> None:
    run, _ = making(client, through(shown("a fleeting cat", max_iterations=2), "RRTest_Restless"))
    status, answer = chosen(client, run, 0)
    assert status == 409
    assert "asks to run every time" in answer["error"]
    assert chosen(client, run, 7)[0] == 400
    assert client.post(HAND_ON, {"prompt_id": "x"})[0] == 400
    assert client.post(HAND_ON, {"prompt_id": "x", "node": "end", "iteration": 0})[0] == 404
