"""Every example workflow, by its API form: it runs if it needs no model, and is valid but for its models otherwise."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.comfy.comfy_client import Client, Prompt, Refused, Run
from tests.comfy.comfy_server import PACK, ComfyServer

FILES = sorted((PACK / "workflows" / "api").glob("*.json"))


def read(file: Path) -> Prompt:
    return dict(json.loads(file.read_text(encoding="utf-8")))


def nodes_of(prompt: Prompt, class_type: str) -> list[str]:
    return [node_id for node_id, node in prompt.items() if node["class_type"] == class_type]


def needs_models(file: Path) -> bool:
    """Whether it loads a model from a file; the miniature comes with the pack."""
    prompt = read(file)
    engines = {prompt[node_id]["inputs"].get("engine") for node_id in nodes_of(prompt, "RR_LoadScorer")}
    return engines != {"miniature"} or any("Loader" in node["class_type"] for node in prompt.values())


RUNNABLE = [file for file in FILES if not needs_models(file)]
OTHERS = [file for file in FILES if needs_models(file)]


def test_there_are_workflows_to_run() -> None:
    assert "1_miniature_loop" in [file.stem for file in RUNNABLE]


@pytest.mark.parametrize("file", RUNNABLE, ids=lambda file: file.stem)
def test_it_runs(client: Client, file: Path) -> None:
    prompt = read(file)
    run = client.run(prompt)
    assert (run.error, run.status) == ("", "success")
    for node_id in nodes_of(prompt, "PreviewImage") + nodes_of(prompt, "SaveImage"):
        assert run.ui(node_id, "images"), f"{node_id} showed no image"
    for node_id in nodes_of(prompt, "PreviewAny"):
        assert run.ui(node_id, "text"), f"{node_id} showed no text"
    for node_id in nodes_of(prompt, "RR_LoopUntilScore"):
        check_loop(prompt, run, node_id)
        assert run.ui(node_id, "rr_loop")[-1]["reached"], "what everybody runs first ends in success"


@pytest.mark.parametrize("cache_mode", ["default"], indirect=True, scope="session")
def test_comfyuis_log_tells_generator_and_judge_apart(server: ComfyServer, client: Client) -> None:
    """Under the names of what takes the memory; both are loaded by the first workflow of all."""
    client.run(read(next(file for file in RUNNABLE if file.stem == "1_miniature_loop")))
    loaded = set(re.findall(r"Requested to load (\w+)", server.log()))
    assert {"RationalScorer", "MiniatureGenerator"} <= loaded


def check_loop(prompt: Prompt, run: Run, node_id: str) -> None:
    """The final state tells the truth about what ran."""
    state = run.ui(node_id, "rr_loop")[-1]
    rows = state["iterations"]
    assert len(rows) <= state["max_iterations"]
    assert state["stopped"] == ("reached" if state["reached"] else state["stopped"])
    assert [len(live["iterations"]) for live in run.loops if live["node"] == node_id] == list(range(1, len(rows) + 1))
    scored = [row["reward"] for row in rows if row["reward"] is not None]
    assert scored
    assert rows[state["best"]]["reward"] == max(scored)
    assert rows[0]["card"]["dimensions"]
    start = prompt[prompt[node_id]["inputs"]["flow"][0]]["inputs"]
    assert (rows[0]["prompt"], rows[0]["seed"]) == (start["prompt"], start["seed"])


def test_a_second_run_never_pays_the_judge_again(client: Client) -> None:
    """The memo outlives every cache: also without one, and where copies are forgotten, no critique is made twice."""
    prompt = read(next(file for file in RUNNABLE if file.stem == "1_miniature_loop"))
    client.run(prompt)
    _, paid = memo(client)
    end = nodes_of(prompt, "RR_LoopUntilScore")[0]
    prompt[end]["inputs"]["threshold"] -= 0.01  # so that the loop itself is not answered by the cache
    run = client.run(prompt)
    assert run.times(end) >= 1
    assert memo(client)[1] == paid


def memo(client: Client) -> tuple[int, int]:
    """(hits, misses) of the process's memo."""
    run = client.run({"m": {"class_type": "RRTest_Memo", "inputs": {}}})
    hits, misses = ast.literal_eval(run.text("m"))
    return int(hits), int(misses)


@pytest.mark.parametrize("file", OTHERS, ids=lambda file: file.stem)
@pytest.mark.parametrize("cache_mode", ["default"], indirect=True, scope="session")
def test_without_its_models_it_is_refused_for_nothing_else(client: Client, file: Path) -> None:
    with pytest.raises(Refused) as refused:
        client.run(read(file))
    answer: dict[str, Any] = ast.literal_eval(str(refused.value))
    for node in answer["node_errors"].values():
        for error in node["errors"]:
            assert error["type"] in ("value_not_in_list", "custom_validation_failed"), (node["class_type"], error)
            name = error["extra_info"]["input_name"]
            assert name.endswith(("_name", "_name1", "_name2", ".checkpoint", ".adapter", "image")), (node, name)
