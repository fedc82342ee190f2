"""What a saved picture says: dropped into ComfyUI, or read by another tool, it tells how this very picture was made."""

from __future__ import annotations

import json
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.comfy.comfy_client import Client, Prompt
from tests.comfy.comfy_server import ComfyServer
from tests.comfy.conftest import one_mode
from tests.comfy.graphs import loop

pytestmark = one_mode
PICTURE = "/rationalrewards/loop/picture"
RULES = {"max_iterations": 3, "minimum_score": 3.0}


def workflow_of(prompt: Prompt) -> dict[str, Any]:
    """A workflow file with as much of a graph as is looked at."""
    start = [prompt["start"]["inputs"][name] for name in ("prompt", "seed")]
    rules = [prompt["end"]["inputs"][name] for name in ("threshold", "max_iterations")]
    nodes = [
        {"id": "start", "type": "RR_LoopStart", "widgets_values": [*start, "randomize", "increment"]},
        {"id": "end", "type": "RR_LoopUntilScore", "widgets_values": [*rules, 50, 0.0, 0.0, "best", "best"]},
    ]
    return {"id": "w", "nodes": nodes, "links": []}


def saved(client: Client, server: ComfyServer, prompt: Prompt, folder: str) -> list[dict[str, Any]]:
    """Texts of the pictures that a run left in a folder of the output folder, in the order of their names."""
    before = set((server.folder / "output" / folder).glob("*.png"))
    run = client.run(prompt, extra={"extra_pnginfo": {"workflow": workflow_of(prompt)}})
    assert run.error == ""
    files = sorted(set((server.folder / "output" / folder).glob("*.png")) - before)
    return [{**texts(file), "file": file} for file in files]


def texts(file: Path) -> dict[str, Any]:
    with Image.open(file) as picture:
        picture.load()
        return dict(picture.info)


def settings(text: str) -> list[Any]:
    nodes = {node["id"]: node["widgets_values"] for node in json.loads(text)["nodes"]}
    return [*nodes["start"][:3], nodes["end"][1]]


def test_the_cores_own_save_node_writes_the_best_images_story(client: Client, server: ComfyServer) -> None:
    prompt = loop("0.2 0.6 0.4", request="a remembered cat", refined="a better cat", **RULES)
    prompt["saver"] = {"class_type": "SaveImage", "inputs": {"images": ["end", 0], "filename_prefix": "best/kept"}}
    (picture,) = saved(client, server, prompt, "best")
    assert settings(picture["workflow"]) == ["a better cat 1", 8, "fixed", 1]
    story = json.loads(picture["rationalrewards"])["end"]
    assert (story["request"], story["prompt"], story["seed"]) == ("a remembered cat", "a better cat 1", 8)
    assert story["reward"] == pytest.approx(0.6)
    assert set(story["scores"]) == set(story["critique"]) != set()
    assert json.loads(picture["prompt"])["start"]["inputs"]["prompt"] == "a remembered cat", "what was queued"


def test_every_iteration_on_demand_and_the_queued_form_makes_the_same_picture(
    client: Client, server: ComfyServer
) -> None:
    prompt = loop("0.2 0.6 0.4", request="an archived cat", refined="a better cat", **RULES)
    prompt["end"]["inputs"]["save"] = "every image"
    pictures = saved(client, server, prompt, "rationalrewards/loops")
    assert len(pictures) == 3
    made_with = [("an archived cat", 7), ("a better cat 2", 9), ("a better cat 1", 8)]
    for picture, (words, seed) in zip(pictures, made_with, strict=True):
        lines = picture["parameters"].split("\n")
        assert lines[0] == words
        assert f"Seed: {seed}, Size: 16x16, Reward: " in lines[-1]
        assert settings(picture["workflow"]) == [words, seed, "fixed", 1]
    again = json.loads(pictures[1]["prompt"])
    again["end"]["inputs"]["save"] = "nothing"
    again["saver"] = {"class_type": "SaveImage", "inputs": {"images": ["end", 0], "filename_prefix": "again/one"}}
    (remade,) = saved(client, server, again, "again")
    with Image.open(remade["file"]) as first, Image.open(pictures[1]["file"]) as second:
        assert first.tobytes() == second.tobytes()
    assert saved(client, server, {**prompt, "more": prompt["best"]}, "rationalrewards/loops") == [], "not saved twice"


def test_one_iteration_that_is_asked_for_is_the_file_that_save_would_have_written(
    client: Client, server: ComfyServer
) -> None:
    prompt = loop("0.2 0.6 0.4", request="a fetched cat", refined="a better cat", **RULES)
    prompt["start"]["inputs"]["seed"] = 107  # other pictures than other tests', so that other files are written
    prompt["end"]["inputs"]["save"] = "every image"
    before = set((server.folder / "output/rationalrewards/loops").glob("*.png"))
    run = client.run(prompt, extra={"extra_pnginfo": {"workflow": workflow_of(prompt)}})
    written = sorted(set((server.folder / "output/rationalrewards/loops").glob("*.png")) - before)
    for iteration, place in ((0, 0), (1, 2), (2, 1)):  # the files are in the order of their rewards
        status, content = client.get(f"{PICTURE}?prompt_id={run.prompt_id}&node=end&iteration={iteration}")
        assert (status, content) == (200, written[place].read_bytes())


@pytest.mark.parametrize(
    ("query", "status", "sentence"),
    [
        ("", 400, "Name a run and one of its iterations"),
        ("?prompt_id=p&node=end&iteration=-1", 400, "Name a run and one of its iterations"),
        ("?prompt_id=p&node=end&iteration=0", 404, "This run is over and forgotten"),
        ("?prompt_id={run}&node=end&iteration=1", 400, "The run has 1 iterations, counted from 0"),
    ],
)
def test_an_iteration_that_is_not_there_is_said(client: Client, query: str, status: int, sentence: str) -> None:
    run = client.run(loop("0.6", request=f"a cat that is asked for by {len(query)} letters", max_iterations=1))
    answer = client.get(PICTURE + query.format(run=run.prompt_id))
    assert answer[0] == status
    assert answer[1]["error"].startswith(sentence)


def test_a_picture_that_is_no_longer_kept_is_the_one_of_the_film_and_then_gone(
    client: Client, server: ComfyServer
) -> None:
    run = client.run(loop("0.6", request="a passing cat", max_iterations=1))
    address = f"{PICTURE}?prompt_id={run.prompt_id}&node=end&iteration=0"
    assert client.get(address)[0] == 200
    image = run.ui("end", "rr_loop")[-1]["iterations"][0]
    picture, _, _ = image["kept"].partition("/")
    (kept,) = server.folder.rglob(picture)
    shutil.rmtree(kept)
    status, content = client.get(address)
    assert status == 200
    with Image.open(BytesIO(content)) as from_film:
        assert from_film.info["parameters"].startswith("a passing cat")
    (server.folder / "temp/temp" / image["image"]["subfolder"] / image["image"]["filename"]).unlink()
    status, answer = client.get(address)
    assert (status, answer["error"]) == (404, "This picture is no longer there: queue the workflow again.")


def test_an_image_that_others_led_to_is_made_by_its_chain(client: Client, server: ComfyServer) -> None:
    from tests.comfy.test_carry import edited

    prompt = edited("a chain of cats", max_iterations=3)
    prompt["end"]["inputs"]["save"] = "best image"
    (picture,) = saved(client, server, prompt, "rationalrewards/loops")
    nodes = {node["id"]: node["widgets_values"] for node in json.loads(picture["workflow"])["nodes"]}
    assert nodes["start"][:3] == ["a chain of cats", 7, "fixed"]
    assert (nodes["end"][1], nodes["end"][5]) == (2, "last")


def test_without_a_workflow_there_is_the_story_alone(client: Client, server: ComfyServer) -> None:
    prompt = loop("0.6", request="a script's cat", max_iterations=1)
    prompt["saver"] = {"class_type": "SaveImage", "inputs": {"images": ["end", 0], "filename_prefix": "script/one"}}
    assert client.run(prompt).error == ""
    prompt["start"]["inputs"]["seed"] = 8
    assert client.run(prompt, extra={"extra_pnginfo": {}}).error == ""
    bare, told = (texts(file) for file in sorted((server.folder / "output" / "script").glob("*.png")))
    assert "rationalrewards" not in bare, "a script that sends no extra_pnginfo gets none"
    assert json.loads(told["rationalrewards"])["end"]["seed"] == 8
    assert "workflow" not in told
