"""Load Rational Scorer and Unload Scorer on a real server: interrupts, missing models, hostile choices."""

from __future__ import annotations

from typing import Any

import pytest

from tests.comfy.comfy_client import Client, Prompt, Refused, Run
from tests.comfy.conftest import one_mode

pytestmark = one_mode

LOCAL = {
    "engine": "local",
    "engine.precision": "bf16",
    "engine.adapter": "none",
    "engine.device": "cpu",
    "engine.max_megapixels": 0.8,
    "engine.batch_size": 1,
}


def graph(request: str, *, pictures: int = 1, **engine: Any) -> Prompt:
    """Judged pictures, with the scorer unloaded at the end and the reward shown."""
    drawing = {"prompt": request, "seed": 1, "batch_size": pictures, "scale": 1, "method": "render", "edit": ""}
    picture: dict[str, Any] = {"class_type": "RR_MiniatureGenerate", "inputs": drawing}
    choice = {"engine": "miniature", "rubric": "automatic", "memory": "keep loaded", **engine}
    return {
        "load": {"class_type": "RR_LoadScorer", "inputs": choice},
        "picture": picture,
        "judge": {
            "class_type": "RR_RationalCritique",
            "inputs": {"scorer": ["load", 0], "image": ["picture", 0], "prompt": request},
        },
        "unload": {"class_type": "RR_UnloadScorer", "inputs": {"anything": ["judge", 1], "scorer": ["load", 0]}},
        "shown": {"class_type": "PreviewAny", "inputs": {"source": ["unload", 0]}},
    }


def test_the_bar_moves_and_an_interrupt_mid_critique_leaves_the_next_run_alone(client: Client) -> None:
    values: list[float] = []

    async def during(client: Client, run: Run, kind: str, content: dict[str, Any]) -> None:
        if kind == "progress" and content["node"] == "judge":
            values.append(content["value"] / content["max"])
            if len(values) == 3:
                await client.request("POST", "/interrupt", {})

    stopped = client.run(graph("a red circle", pictures=64), during)
    assert stopped.interrupted
    assert values == sorted(values)
    assert 0 < values[2] < 1
    after = client.run(graph("a red circle"))
    assert after.status == "success", after.error
    assert 0.0 <= float(after.text("shown")) <= 1.0


def test_the_miniature_scores_nothing_that_it_does_not_know(client: Client) -> None:
    """The graph goes on: the card says why there is no number."""
    prompt = graph("a photo of a cat wearing a top hat")
    prompt["picture"] = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 2, "color": 9}}
    run = client.run(prompt)
    assert (run.error, run.status, run.text("shown")) == ("", "success", "nan")
    cards = run.ui("judge", "rr_critique")
    assert [(card["reward"], card["unscored"]["reason"]) for card in cards] == [(None, "out_of_scope")] * 2
    assert "'photo', 'cat', 'wearing'" in cards[0]["unscored"]["message"]
    assert "huggingface.co/TIGER-Lab/RationalRewards-8B-T2I" in cards[0]["unscored"]["message"]
    refused = client.run(graph("a photo of a cat wearing a top hat"))
    assert "The miniature" in refused.error


def test_a_missing_checkpoint_is_said_on_the_node(client: Client) -> None:
    from_lists = client.get("/object_info/RR_LoadScorer")[1]["RR_LoadScorer"]["input"]["required"]["engine"][1]
    local = next(option for option in from_lists["options"] if option["key"] == "local")
    placeholder = local["inputs"]["required"]["checkpoint"][1]["options"][0]
    run = client.run(graph("a red circle", **LOCAL, **{"engine.checkpoint": placeholder}))
    assert run.status == "error"
    assert run.error.startswith("There is no checkpoint yet. Download TIGER-Lab/RationalRewards-8B-T2I")
    assert run.error.endswith("models/LLM/<name>/.")


@pytest.mark.parametrize(
    "changed",
    [
        {"engine": "exec"},
        {**LOCAL, "engine.checkpoint": "../../../etc"},
        {**LOCAL, "engine.checkpoint": "https://example.org/judge"},
        {"engine": "server", "engine.server": "http://127.0.0.1:1/v1"},
        {"rubric": "../../secret.toml"},
        {"memory": "for ever"},
    ],
    ids=["engine", "path", "address", "server", "rubric", "memory"],
)
def test_hostile_choices_never_run(client: Client, changed: dict[str, Any]) -> None:
    try:
        run = client.run(graph("a red circle", **changed))
    except Refused:
        return
    assert run.status == "error"
    assert run.error
