"""Nodes that choose, wired together on a real server: lists, blocked outputs, an interrupt while pictures are drawn."""

from __future__ import annotations

import json
from typing import Any

from tests.comfy.comfy_client import Client, Prompt, Run
from tests.comfy.conftest import one_mode

pytestmark = one_mode
REQUEST = 'a large red circle left of a small blue square with the word "OK"'
SCORER = {
    "class_type": "RR_LoadScorer",
    "inputs": {"engine": "miniature", "rubric": "automatic", "memory": "keep loaded"},
}


def pictures(**changed: Any) -> dict[str, Any]:
    inputs = {"prompt": REQUEST, "seed": 0, "batch_size": 3, "scale": 1, "method": "render", "edit": ""}
    return {"class_type": "RR_MiniatureGenerate", "inputs": {**inputs, **changed}}


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def scored(**changed: Any) -> Prompt:
    """Three edits, of which some seeds went wrong, scored and ranked."""
    inputs = {
        "scorer": ["load", 0],
        "images": ["gen", 0],
        "source_image": ["gen", 1],
        "prompt": "make the circle green",
    }
    return {
        "load": SCORER,
        "gen": pictures(method="render an edit", edit="make the circle green"),
        "score": node("RR_MultiDimScore", **{**inputs, "threshold": 0.8, "minimums": "", "weights": "", **changed}),
    }


def shown(source: str, slot: int) -> dict[str, Any]:
    return node("PreviewAny", source=[source, slot])


def test_lists_come_together_again_in_pick_best(client: Client) -> None:
    edit = {"scorer": ["load", 0], "prompt": "make the circle green", "source_image": ["gen", 1]}
    prompt: Prompt = {
        "load": SCORER,
        "gen": pictures(method="render an edit", edit=edit["prompt"]),
        "score": node("RR_MultiDimScore", **edit, images=["gen", 0], threshold=0.8, minimums="", weights=""),
        "critique": node("RR_RationalCritique", **edit, image=["gen", 0]),
        "by_reward": node("RR_PickBest", images=["gen", 0], rewards=["score", 0]),
        "by_critique": node("RR_PickBest", images=["gen", 0], critique=["critique", 0]),
        "each": shown("score", 0),
        "index_by_reward": shown("by_reward", 1),
        "index_by_critique": shown("by_critique", 1),
        "best_index": shown("score", 7),
        "best": node("PreviewImage", images=["by_critique", 0]),
        "ranked": node("PreviewImage", images=["score", 9]),
    }
    run = client.run(prompt)
    assert (run.error, run.status) == ("", "success")
    rewards = [card["reward"] for card in run.ui("critique", "rr_critique")]
    assert len(set(rewards)) > 1, "the edits differ"
    assert len(run.outputs["each"]["text"]) == 3, "one reward for each image"
    best = str(rewards.index(max(rewards)))
    assert run.text("index_by_reward") == run.text("index_by_critique") == run.text("best_index") == best
    assert len(run.ui("best", "images")) == 1
    assert len(run.ui("ranked", "images")) == 3


def test_comparing_refining_and_writing(client: Client) -> None:
    prompt = {
        "load": SCORER,
        "gen": pictures(batch_size=1),
        "other": pictures(prompt="a small green triangle", batch_size=1),
        "compare": node(
            "RR_CompareImages",
            scorer=["load", 0],
            image_a=["gen", 0],
            image_b=["other", 0],
            prompt="a small green triangle",
            method="pointwise",
        ),
        "critique": node("RR_RationalCritique", scorer=["load", 0], image=["gen", 0], prompt="a small green triangle"),
        "refine": node(
            "RR_PromptRefine",
            critique=["critique", 0],
            prompt="a small green triangle, <lora:paper:0.8>",
            style="full rewrite",
            minimum=3.0,
            minimums="",
            trigger_words="",
            prefix="",
            suffix="",
            max_length=1500,
            index=-1,
        ),
        "text": node("RR_CritiqueToText", critique=["critique", 0], index=-1, format="json"),
        "winner": shown("compare", 0),
        "refined": shown("refine", 0),
        "json": shown("text", 0),
    }
    run = client.run(prompt)
    assert (run.error, run.status) == ("", "success")
    assert run.text("winner") == "B"
    assert run.text("refined").endswith("<lora:paper:0.8>")
    assert run.ui("refine", "rr_refine")[0]["changed"] is True
    assert json.loads(run.text("json"))["rewards"][0] < 0.9


def test_nothing_judged_stops_what_hangs_on_the_best_image_and_says_why(client: Client) -> None:
    critic = node("RRTest_Critic", image=["gen", 0], prompt=REQUEST, iteration=0, script="nan", refined="")
    prompt = {
        "gen": pictures(batch_size=2),
        "critic": critic,
        "pick": node("RR_PickBest", images=["gen", 0], critique=["critic", 0]),
        "best": node("PreviewImage", images=["pick", 0]),
        "all": node("PreviewImage", images=["gen", 0]),
    }
    run = client.run(prompt)
    assert "None of the 2 images could be judged" in run.error
    assert run.ui("best", "images") == []
    assert len(run.ui("all", "images")) == 2
    assert client.run({"gen": prompt["gen"], "all": prompt["all"]}).error == ""


def test_an_interrupt_while_pictures_are_drawn(client: Client) -> None:
    async def stop(client: Client, run: Run, kind: str, content: dict[str, Any]) -> None:
        if kind == "executing" and content["node"] == "gen":
            await client.request("POST", "/interrupt", {})

    prompt = {"gen": pictures(method="draw", batch_size=64), "best": node("PreviewImage", images=["gen", 0])}
    run = client.run(prompt, stop)
    assert run.interrupted
    assert run.ui("best", "images") == []
    again = client.run({"gen": pictures(method="draw", batch_size=1), "best": prompt["best"]})
    assert (again.error, len(again.ui("best", "images"))) == ("", 1)
