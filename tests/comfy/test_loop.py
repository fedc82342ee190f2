"""The loop on a real server: what runs, how often, and what comes out, in every cache mode."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from PIL import Image

from tests.comfy.comfy_client import Client, Prompt, Run
from tests.comfy.comfy_server import ComfyServer
from tests.comfy.conftest import one_mode
from tests.comfy.graphs import SHOWN, critic, generator, loop, making, preview, start, until


def history_of(run: Run) -> dict[str, Any]:
    return dict(json.loads(run.text(SHOWN["history"])))


def colour(client: Client, image: dict[str, str]) -> tuple[int, ...]:
    """First pixel of a picture that the server shows."""
    address = f"/view?filename={image['filename']}&subfolder={image['subfolder']}&type={image['type']}"
    status, picture = client.get(address)
    assert status == 200
    return tuple(Image.open(io.BytesIO(picture)).convert("RGB").getpixel((0, 0)))


def test_it_stops_at_the_threshold_and_hands_on_the_best(client: Client) -> None:
    run = client.run(loop("0.2 0.5 0.4 0.9 0.3", refined="a better cat", max_iterations=6, minimum_score=3.0))
    assert (run.error, run.status) == ("", "success")
    assert run.text(SHOWN["iterations"]) == "4"
    assert run.text(SHOWN["reached"]) == "True"
    assert float(run.text(SHOWN["reward"])) == pytest.approx(0.9)
    assert run.text(SHOWN["seed"]) == "10"
    assert run.text(SHOWN["prompt"]) == "a better cat 2", "iteration 4 refines the best so far, which is iteration 2"
    steps = history_of(run)["iterations"]
    assert [step["request"] for step in steps] == ["a cat", "a better cat 1", "a better cat 2", "a better cat 2"]
    assert [step["accepted"] for step in steps] == [True, True, False, True]


def test_every_iteration_runs_the_body_and_what_hangs_off_it_and_nothing_else(client: Client) -> None:
    prompt = loop("0.1", request="a counted cat", max_iterations=3)
    prompt["inverted"] = {"class_type": "ImageInvert", "inputs": {"image": ["gen", 0]}}
    prompt["chained"] = preview("inverted")
    run = client.run(prompt)
    assert run.error == ""
    for node in ("gen", "critic", "inverted"):  # the end is said to execute when it asks for its lazy inputs, too
        assert run.times(node) == 3, node
    for node in ("dangling", "chained"):
        assert len(run.ui(node, "images")) == 3, node
    assert len(run.ui("best", "images")) == 1
    assert max(map(len, run.ran)) <= len("end.it2.dangling")


def pictures_of_ours(server: ComfyServer) -> set[int]:
    """Every picture that the pack has encoded; a file that has two names counts once."""
    files = (file for kind in ("png", "webp") for file in server.folder.rglob(f"*.{kind}"))
    return {file.stat().st_ino for file in files if file.name.startswith(("rationalrewards", "step_"))}


def test_a_picture_that_a_card_and_the_film_show_is_encoded_once(client: Client, server: ComfyServer) -> None:
    request = "a large green triangle above a small yellow square"  # which a picture of one colour never is
    prompt = loop("", request=request, max_iterations=3, patience=3, generates={"size": 48})
    prompt["scorer"] = {
        "class_type": "RR_LoadScorer",
        "inputs": {"engine": "miniature", "rubric": "automatic", "memory": "keep loaded"},
    }
    prompt["critic"] = {
        "class_type": "RR_RationalCritique",
        "inputs": {"scorer": ["scorer", 0], "image": ["gen", 0], "prompt": ["start", 4]},
    }
    prompt["end"]["inputs"]["threshold"] = 1.0
    before = pictures_of_ours(server)
    run = client.run(prompt)
    assert (run.error, run.status) == ("", "success")
    assert len(run.ui("end", "rr_loop")[-1]["iterations"]) == 3
    assert len(pictures_of_ours(server) - before) == 3


def test_the_cap_gives_the_best_so_far(client: Client) -> None:
    run = client.run(loop("0.2 0.6 0.4", max_iterations=3))
    assert run.text(SHOWN["reached"]) == "False"
    assert run.text(SHOWN["iterations"]) == "3"
    assert run.text(SHOWN["seed"]) == "8"
    assert history_of(run)["stopped"] == "budget"
    state = run.ui("end", "rr_loop")[-1]
    assert state["best"] == 1
    shown = [colour(client, row["image"]) for row in state["iterations"]]
    assert colour(client, run.ui("best", "images")[0]) == shown[1]
    assert len(set(shown)) == 3


def test_keep_last_gives_the_last_and_patience_ends_early(client: Client) -> None:
    run = client.run(loop("0.5 0.4 0.3 0.2 0.1", max_iterations=9, patience=2, keep="last"))
    assert run.text(SHOWN["iterations"]) == "3"
    assert float(run.text(SHOWN["reward"])) == pytest.approx(0.3)
    assert history_of(run)["stopped"] == "patience"
    state = run.ui("end", "rr_loop")[-1]
    assert colour(client, run.ui("best", "images")[0]) == colour(client, state["iterations"][2]["image"])


def test_unscored_iterations_are_counted_shown_and_never_best(client: Client) -> None:
    run = client.run(loop("nan 0.3 nan", max_iterations=3))
    assert float(run.text(SHOWN["reward"])) == pytest.approx(0.3)
    rows = run.ui("end", "rr_loop")[-1]["iterations"]
    assert [row["reward"] is None for row in rows] == [True, False, True]
    assert rows[0]["unscored"] == {"reason": "truncated", "message": "The reply broke off."}
    nothing = client.run(loop("nan", max_iterations=2))
    assert nothing.text(SHOWN["reward"]) == "nan"
    assert nothing.text(SHOWN["reached"]) == "False"
    state = nothing.ui("end", "rr_loop")[-1]
    assert state["best"] is None
    assert colour(client, nothing.ui("best", "images")[0]) == colour(client, state["iterations"][1]["image"])


def test_of_a_batch_the_best_image_counts(client: Client) -> None:
    run = client.run(loop("0.2/0.7/0.1 0.3/0.1/0.6", generates={"batch": 3}, max_iterations=2))
    assert float(run.text(SHOWN["reward"])) == pytest.approx(0.7)
    assert len(run.ui("best", "images")) == 1
    assert colour(client, run.ui("best", "images")[0]) == colour(client, run.ui("dangling", "images")[1])


def test_a_reward_alone_is_enough_and_counts_before_a_critique(client: Client) -> None:
    alone = loop("0.2 0.9", max_iterations=5)
    del alone["end"]["inputs"]["critique"]
    alone["end"]["inputs"]["reward"] = ["critic", 1]
    run = client.run(alone)
    assert run.text(SHOWN["iterations"]) == "2"
    assert run.ui("end", "rr_loop")[-1]["iterations"][0]["card"] is None
    both = loop("0.2 0.3", max_iterations=5, reward=0.95)
    run = client.run(both)
    assert (run.text(SHOWN["iterations"]), run.text(SHOWN["reached"])) == ("1", "True")
    card = run.ui("end", "rr_loop")[-1]["iterations"][0]["card"]
    assert card["reward"] == pytest.approx(0.95)
    assert card["dimensions"][0]["justification"] == "<b>as the script says</b>", "text stays text"


def test_a_refined_prompt_of_the_graph_is_what_is_tried_next(client: Client) -> None:
    prompt = loop("0.1 0.2", refined="the judge's", max_iterations=2)
    prompt["end"]["inputs"]["refined_prompt"] = ["words", 0]
    prompt["words"] = {"class_type": "PrimitiveString", "inputs": {"value": "  the graph's, [1, 2] {x} <lora:a:1>  "}}
    run = client.run(prompt)
    assert run.text(SHOWN["prompt"]) == "the graph's, [1, 2] {x} <lora:a:1>"


def test_a_dimension_below_the_minimum_keeps_the_loop_going(client: Client) -> None:
    run = client.run(loop("0.7", threshold=0.5, minimum_score=3.5, max_iterations=3))
    assert (run.text(SHOWN["iterations"]), run.text(SHOWN["reached"])) == ("3", "False")
    run = client.run(loop("0.7", threshold=0.5, minimum_score=3.0, max_iterations=3))
    assert (run.text(SHOWN["iterations"]), run.text(SHOWN["reached"])) == ("1", "True")


def test_prompt_and_seed_may_be_wired_and_a_huge_seed_is_folded(client: Client) -> None:
    prompt = loop("0.1", max_iterations=2)
    prompt["start"] = start(prompt=["words", 0], seed=["number", 0], seed_policy="fixed")
    prompt["words"] = {"class_type": "PrimitiveString", "inputs": {"value": "a dog"}}
    prompt["number"] = {"class_type": "PrimitiveInt", "inputs": {"value": 2**40 + 3}}
    run = client.run(prompt)
    assert run.text(SHOWN["prompt"]) == "a dog"
    assert run.text(SHOWN["seed"]) == "3"
    assert history_of(run)["stopped"] == "nothing_new", "the same prompt with the same seed gives the same image"
    assert run.text(SHOWN["iterations"]) == "1"


def nested() -> Prompt:
    """Two inner iterations in each of three outer ones; previews hang off both bodies."""
    return {
        "1": start("a nested cat"),
        "2": start(prompt=["1", 0], seed=["1", 1]),
        "3": generator("2"),
        "4": critic("2", "3", "0.3 0.4"),
        "5": until("2", image=["3", 0], critique=["4", 0], max_iterations=2),
        "6": critic("1", "5", "0.1 0.2 0.95"),
        "7": until("1", image=["5", 0], critique=["6", 0], max_iterations=5),
        "8": preview("3"),
        "9": preview("5"),
        "10": preview("7"),
        "11": {"class_type": "PreviewAny", "inputs": {"source": ["7", 4]}},
    }


def test_a_loop_inside_a_loop(client: Client) -> None:
    run = client.run(nested())
    assert run.error == ""
    assert run.text("11") == "3"
    assert run.times("3") == 6
    assert [len(run.ui(node, "images")) for node in ("8", "9", "10")] == [6, 3, 1]
    assert max(map(len, run.ran)) <= len("7.it2.5.it0.2.kept"), "an inner iteration that is kept is only judged"


def test_ids_of_a_flattened_subgraph(client: Client) -> None:
    names = {"start": "12:1", "gen": "12:5:2", "critic": "12:5", "end": "12:9", "dangling": "12:5:7", "best": "3"}
    prompt = {
        names.get(node_id, node_id): {
            **node,
            "inputs": {
                name: [names.get(value[0], value[0]), value[1]] if isinstance(value, list) else value
                for name, value in node["inputs"].items()
            },
        }
        for node_id, node in loop("0.1 0.2 0.9").items()
    }
    run = client.run(prompt)
    assert run.error == ""
    assert run.text(SHOWN["iterations"]) == "3"
    assert len(run.ui("12:5:7", "images")) == 3
    assert run.ui("12:9", "rr_loop")[-1]["node"] == "12:9"


def test_live_states_end_in_the_final_one(client: Client) -> None:
    run = client.run(loop("0.1 0.2 0.3", max_iterations=3))
    assert [state["running"] for state in run.loops] == [True, True, False]
    assert [len(state["iterations"]) for state in run.loops] == [1, 2, 3]
    assert run.loops[-1] == run.ui("end", "rr_loop")[-1]
    assert run.loops[-1]["prompt_id"] == run.prompt_id
    address = f"/rationalrewards/loops?prompt_id={run.prompt_id}"
    assert client.get(address) == (200, {"workflow": None, "loops": [run.loops[-1]]})
    assert run.ui("end", "rr_loop_run") == [{"prompt_id": run.prompt_id, "node": "end"}]


@one_mode
def test_a_wiring_mistake_is_said_before_an_image_is_made(client: Client) -> None:
    prompt = loop("0.1", request="a miswired cat")
    del prompt["end"]["inputs"]["critique"]
    run = client.run(prompt)
    assert "needs a critique or a reward" in run.error
    assert run.times("gen") == 0


@one_mode
def test_a_seed_that_reaches_no_sampler_makes_one_image(client: Client) -> None:
    prompt = loop("0.1 0.2 0.3", request="a seedless cat", max_iterations=3, generates={"seed": 5})
    run = client.run(prompt)
    (state,) = run.ui("end", "rr_loop")
    assert (state["stopped"], state["seed_wired"], len(state["iterations"])) == ("nothing_new", False, 1)
    assert state["iterations"][0]["seed"] is None


@one_mode
def test_only_the_browser_that_queued_it_is_told(client: Client) -> None:
    """The node has the same id in everybody's workflows."""
    import asyncio

    import aiohttp

    async def overheard() -> list[str]:
        kinds: list[str] = []
        stranger = f"{client.address}/ws?clientId=stranger"
        async with aiohttp.ClientSession() as session, session.ws_connect(stranger) as events:
            prompt = loop("0.1 0.2", request="a private cat", max_iterations=2)
            task = asyncio.ensure_future(asyncio.to_thread(client.run, prompt))
            while not task.done():
                try:
                    event = await events.receive(timeout=0.5)
                except TimeoutError:
                    continue
                if event.type == aiohttp.WSMsgType.TEXT:
                    kinds.append(event.json()["type"])
            assert len((await task).loops) == 2
        return kinds

    kinds = asyncio.run(overheard())
    assert kinds, "the stranger is connected"
    assert "rationalrewards.loop" not in kinds


def test_a_changed_threshold_makes_only_what_is_new(client: Client) -> None:
    def made(threshold: float) -> int:
        prompt = loop("0.2 0.5 0.4 0.9 0.95", request="a tuned cat", max_iterations=6, threshold=threshold)
        return making(client, prompt)[1]

    assert tuple(made(threshold) for threshold in (0.80, 0.81, 0.93)) == (4, 0, 1)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ({"critique": None}, "needs a critique or a reward"),
        ({"image": ["still", 0]}, "Nothing between Loop Start and Loop Until Score"),
        ({"reward": 7.0}, "A reward lies between 0 and 1"),
        ({"flow": ["list", 0]}, "Wire the flow input"),
    ],
)
def test_what_cannot_loop_says_so(client: Client, broken: dict[str, Any], sentence: str) -> None:
    prompt = loop("0.1")
    prompt["still"] = generator("start", prompt="no", seed=1)
    prompt["list"] = {"class_type": "RRTest_Flow", "inputs": {}}
    for name, value in broken.items():
        if value is None:
            del prompt["end"]["inputs"][name]
        else:
            prompt["end"]["inputs"][name] = value
    if "image" in broken:
        prompt["end"]["inputs"]["critique"] = ["other", 0]
        prompt["other"] = {**critic("start", "still", "0.1")}
        prompt["other"]["inputs"].update(prompt="x", iteration=0)
    run = client.run(prompt)
    assert sentence in run.error
    assert run.status == "error"
