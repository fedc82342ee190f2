"""Finished iterations are not made again: on a real server, in every cache mode, and after it was started again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.comfy.comfy_client import Client, Prompt, Run
from tests.comfy.comfy_server import ComfyServer
from tests.comfy.conftest import one_mode
from tests.comfy.graphs import SHOWN, loop, making, preview, times_made

REWARDS = "0.2 0.5 0.4 0.6 0.3 0.55 0.1 0.7"


def shown(request: str, **ends: Any) -> Prompt:
    """A loop over pictures like photographs, whose best image is read value for value."""
    rules = {"request": request, "refined": "a better cat", "generates": {"grain": 0.02, "size": 64}}
    prompt = loop(REWARDS, **rules, **ends)
    prompt["digest"] = {"class_type": "RRTest_Digest", "inputs": {"image": ["end", 0]}}
    return prompt


def store(server: ComfyServer) -> Path:
    return server.folder / "user" / "rationalrewards" / "loops"


def outputs(run: Run) -> dict[str, Any]:
    return {"digest": run.text("digest"), **{name: run.text(node) for name, node in SHOWN.items() if name != "history"}}


def told(run: Run) -> list[dict[str, Any]]:
    """The film of a run, without what tells one run from another."""
    rows: list[dict[str, Any]] = run.ui("end", "rr_loop")[-1]["iterations"]
    own = ("image", "seconds", "replayed")
    rows = [{name: value for name, value in row.items() if name not in own} for row in rows]
    return [{**row, "card": {**row["card"], "image": None}} for row in rows]


def test_one_more_iteration_costs_one_body(client: Client) -> None:
    six, made = making(client, shown("an extended cat", max_iterations=6))
    assert made == 6
    seven, made = making(client, shown("an extended cat", max_iterations=7))
    assert made == 1
    assert outputs(seven) == {**outputs(six), "iterations": "7"}
    assert told(seven)[:6] == told(six)
    rows = seven.ui("end", "rr_loop")[-1]["iterations"]
    assert [row["replayed"] for row in rows] == [True] * 6 + [False]
    for row in rows:
        image = row["image"]
        status, _ = client.get(f"/view?filename={image['filename']}&subfolder={image['subfolder']}&type=temp")
        assert status == 200


def test_nor_after_a_restart(client: Client, server: ComfyServer) -> None:
    before, made = making(client, shown("a lasting cat", max_iterations=4))
    assert made == 4
    server.stop()
    server.start()
    after, made = making(client, shown("a lasting cat", max_iterations=5))
    assert made == 1
    assert outputs(after) == {**outputs(before), "iterations": "5"}
    assert told(after)[:4] == told(before)
    assert len(after.ui("best", "images")) == 1
    again, made = making(client, shown("a lasting cat", max_iterations=5))
    assert (made, outputs(again)) == (0, outputs(after))


def test_what_is_behind_an_unchanged_loop_does_not_run_again(client: Client, cache_mode: str) -> None:
    """Or every Run would save the best image once more."""
    prompt = shown("an unchanged cat", max_iterations=3)
    prompt["last"] = {"class_type": "SaveImage", "inputs": {"images": ["end", 0], "filename_prefix": "unchanged"}}
    before = times_made(client)
    runs = [client.run(prompt) for _ in range(3)]  # with no other prompt in between, which would empty most caches
    assert times_made(client) - before == 3
    assert [run.error for run in runs] == [""] * 3
    if cache_mode != "none":
        assert [run.times("last") for run in runs] == [1, 0, 0]


def test_another_judge_judges_the_kept_pictures(client: Client) -> None:
    first, _ = making(client, shown("a twice judged cat", max_iterations=3))
    prompt = shown("a twice judged cat", max_iterations=3)
    prompt["critic"]["inputs"]["script"] = "0.7 0.1 0.2"
    second, made = making(client, prompt)
    assert made == 0
    assert [row["reward"] for row in told(second)] == pytest.approx([0.7, 0.1, 0.2])
    assert second.text(SHOWN["seed"]) == "7"
    assert len(second.ui("dangling", "images")) >= 2, "previews of the body show what is judged"
    assert first.text("digest") != second.text("digest")


@pytest.mark.parametrize("change", [{"size": 32}, {"grain": 0.03}, {"batch": 2}])
def test_another_body_is_made(client: Client, change: dict[str, Any]) -> None:
    request = f"a cat with another {next(iter(change))}"
    making(client, shown(request, max_iterations=2))
    prompt = shown(request, max_iterations=2)
    prompt["gen"]["inputs"].update(change)
    assert making(client, prompt)[1] == 2


def through(prompt: Prompt, class_type: str, name: str = "") -> Prompt:
    """With one more node between the generator and whoever takes its image."""
    for node in ("critic", "end"):
        prompt[node]["inputs"]["image"] = ["passing", 0]
    prompt["passing"] = {"class_type": class_type, "inputs": {"image": ["gen", 0], "name": name}}
    return prompt


@one_mode
def test_a_file_that_a_node_names_counts_by_what_it_is(client: Client, models: Path) -> None:
    """Its name stays the same when somebody puts another model there. (Caches that still hold the old one do not see it.)"""
    file = models / "loras" / "named.safetensors"
    file.write_bytes(b"first")
    prompt = through(shown("a named cat", max_iterations=2), "RRTest_Passing", file.name)
    assert making(client, prompt)[1] == 2
    prompt["end"]["inputs"]["threshold"] = 0.81
    assert making(client, prompt)[1] == 0
    file.write_bytes(b"another")
    assert making(client, prompt)[1] == 2


def test_a_node_that_wants_to_run_every_time_does(client: Client, cache_mode: str) -> None:
    made = [making(client, through(shown("a restless cat", max_iterations=2), "RRTest_Restless"))[0] for _ in range(2)]
    assert [row["replayed"] for run in made for row in run.ui("end", "rr_loop")[-1]["iterations"]] == [False] * 4
    assert [run.times("passing") for run in made] == [2, 2]


def test_a_node_behind_the_loop_may_look_into_its_first_iteration(client: Client) -> None:
    """First beside best: the first iteration's own node must have run for it."""
    prompt = shown("a compared cat", max_iterations=3)
    prompt["both"] = {"class_type": "ImageBatch", "inputs": {"image1": ["end", 0], "image2": ["gen", 0]}}
    prompt["compared"] = preview("both")
    assert len(making(client, prompt)[0].ui("compared", "images")) == 2
    prompt["end"]["inputs"]["threshold"] = 0.9
    run, made = making(client, prompt)
    assert len(run.ui("compared", "images")) == 2
    assert made <= 1


@one_mode
def test_a_wired_prompt_is_known_when_it_comes(client: Client) -> None:
    prompt = shown("", max_iterations=3)
    prompt["start"]["inputs"]["prompt"] = ["words", 0]
    prompt["words"] = {"class_type": "PrimitiveString", "inputs": {"value": "a wired cat"}}
    assert making(client, prompt)[1] == 3
    prompt["end"]["inputs"]["max_iterations"] = 4
    assert making(client, prompt)[1] == 1


@one_mode
def test_what_is_no_longer_there_or_not_whole_is_made_again(client: Client, server: ComfyServer) -> None:
    before, _ = making(client, shown("a lost cat", max_iterations=3))
    kept = sorted(store(server).glob("*/images.safetensors"), key=lambda file: file.stat().st_mtime)[-3:]
    kept[0].write_bytes(kept[0].read_bytes()[:-1])
    shutil.rmtree(kept[1].parent)
    after, made = making(client, shown("a lost cat", max_iterations=3, threshold=0.81))
    assert made == 2
    assert outputs(after) == outputs(before)


@one_mode
def test_a_lost_first_iteration_that_the_cache_takes_for_skipped_is_made(client: Client, server: ComfyServer) -> None:
    prompt = shown("a forgotten cat", max_iterations=2)
    making(client, prompt)
    prompt["end"]["inputs"]["threshold"] = 0.81
    before, made = making(client, prompt)
    assert made == 0
    shutil.rmtree(store(server))
    prompt["end"]["inputs"]["patience"] = 40
    after, made = making(client, prompt)
    assert (made, outputs(after)) == (2, outputs(before))


@one_mode
def test_an_interrupted_loop_goes_on_where_it_was(client: Client) -> None:
    prompt = shown("an interrupted and resumed cat", max_iterations=5)
    prompt["gen"]["inputs"]["seconds"] = 0.4

    async def interrupt(client: Client, run: Run, _kind: str, _content: dict[str, Any]) -> None:
        if len(run.loops) == 2:
            run.loops.append(run.loops[-1])
            await client.request("POST", "/interrupt", {})

    assert client.run(prompt, interrupt).interrupted
    assert making(client, prompt)[1] <= 3
