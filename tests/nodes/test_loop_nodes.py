"""Loop Start and Loop Until Score as nodes: what they tell the next iteration, the page and the temp folder."""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.nodes.comfy_stub import Pack
from tests.nodes.test_loop_graph import DynamicPrompt, simple

RULES = {
    "threshold": [0.8],
    "max_iterations": [3],
    "patience": [5],
    "minimum_gain": [0.0],
    "minimum_score": [0.0],
    "keep": ["best"],
    "refine_from": ["best"],
}


class Prompt(DynamicPrompt):
    """As much of a running prompt as the nodes ask for."""

    def get_display_node_id(self, node_id: str) -> str:
        return node_id.rsplit(".", 1)[-1]

    def get_original_prompt(self) -> dict[str, Any]:
        return {node_id: node for node_id, node in self.nodes.items() if node_id not in self.parents}


@pytest.fixture
def prompt(monkeypatch: pytest.MonkeyPatch) -> Prompt:
    nodes = simple()
    nodes["open"]["inputs"] = {"prompt": "a cat", "seed": 7, "seed_policy": "increment"}
    nodes["close"]["inputs"]["flow"] = ["open", 3]
    nodes["make"]["inputs"]["seed"] = ["open", 1]
    classes = {node["class_type"]: type("Node", (), {"OUTPUT_NODE": False}) for node in nodes.values()}
    monkeypatch.setattr(sys.modules["nodes"], "NODE_CLASS_MAPPINGS", classes)
    return Prompt(nodes)


@pytest.fixture(autouse=True)
def no_kept_iterations(pack: Pack) -> None:
    """All tests of the folder share one user folder, and most of them the same cat."""
    store = pack.module("nodes.loop.kept_iterations").kept_iterations()
    store.settle()
    shutil.rmtree(store.folder, ignore_errors=True)


@pytest.fixture
def close(pack: Pack, prompt: Prompt) -> Any:
    """Executes a Loop Until Score (by default the visible one) on rewards; other inputs may be changed."""
    node = pack.module("nodes.loop_until_score").LoopUntilScore
    flow = pack.module("nodes.loop.state").Flow

    def execute(rewards: list[float], images: Any, iteration: int = 0, node_id: str = "close", **changed: Any) -> Any:
        told = flow(
            original="a cat", base_seed=7, seeds="increment", prompt="a cat", seed=7 + iteration, iteration=iteration
        )
        known = {"unique_id": node_id, "dynprompt": prompt, "extra_pnginfo": {"workflow": {"id": "w"}}}
        placed = type("Placed", (node,), {"hidden": SimpleNamespace(**known)})
        inputs = {"flow": [told], "image": [images], "reward": rewards, **RULES, **changed}
        return placed.execute(**{name: value for name, value in inputs.items() if value is not None})

    return execute


def grown(prompt: Prompt, graph: dict[str, Any], parent: str) -> None:
    """The engine takes an expansion in."""
    prompt.nodes.update(graph)
    prompt.parents.update(dict.fromkeys(graph, parent))


def test_below_the_threshold_it_makes_the_next_iteration(close: Any, images: Any) -> None:
    output = close([0.2], images(1), refined_prompt=["a better cat"])
    assert output.args == tuple(["close.it1.close", slot] for slot in range(7))
    address = {"prompt_id": "p", "node": "close"}
    assert output.ui == {"rr_loop_run": [address], "rr_workflow": ["w"]}, "only the last copy shows the end"
    start = output.expand["close.it1.open"]["inputs"]
    assert start == {
        "prompt": "a better cat",
        "seed": 8,
        "seed_policy": "increment",
        "iteration": 1,
        "original": "a cat",
        "base_seed": 7,
    }
    assert all(isinstance(value, str | int) for value in start.values()), "objects would make it uncacheable"


def test_the_copy_goes_on_where_the_first_ended(close: Any, images: Any, prompt: Prompt, tmp_path: Path) -> None:
    first, second = images(1), images(2)[1:]
    grown(prompt, close([0.5], first).expand, "close")
    graph = close([0.3], second, 1, "close.it1.close").expand
    assert "close.it2.gen" not in graph
    grown(prompt, graph, "close.it1.close")
    output = close([math.nan], second, 2, "close.it2.close")
    image, reward, text, seed, iterations, reached, history = output.args
    assert output.expand is None
    assert (image == first).all()
    assert (reward, text, seed, iterations, reached) == (0.5, "a cat", 7, 3, False)
    assert [row["reward"] for row in json.loads(history)["iterations"]] == [0.5, 0.3, None]
    (state,) = output.ui["rr_loop"]
    assert (state["node"], state["stopped"], state["best"]) == ("close", "budget", 0)


def test_each_iteration_is_told_to_the_page_and_saved(close: Any, images: Any, pack: Pack) -> None:
    server = sys.modules["server"].PromptServer.instance
    server.sent.clear()
    close([0.5], images(1))
    (event, state, browser) = server.sent[-1]
    assert (event, browser) == ("rationalrewards.loop", "browser"), "other browsers have other runs"
    assert (state["running"], state["prompt_id"], state["workflow"]) == (True, "p", "w")
    kept = pack.module("nodes.loop.board").BOARD.of_run("p", "close")
    assert kept == {**{name: state[name] for name in state if name != "row"}, "iterations": [state["row"]]}
    saved = state["row"]["image"]
    folder = Path(sys.modules["folder_paths"].get_temp_directory()) / saved["subfolder"]
    run = pack.core("loop.history").load_history(folder)
    assert [step.reward for step in run.steps] == [0.5]
    assert run.steps[0].image.size == (8, 8)


def test_an_unwired_seed_is_said_and_makes_no_equal_images(close: Any, images: Any, prompt: Prompt) -> None:
    """The seeds that Loop Start counts up reach no sampler: the same prompt would give the same image again."""
    del prompt.nodes["make"]["inputs"]["seed"]
    output = close([0.5], images(1), refined_prompt=["a cat"])
    (state,) = output.ui["rr_loop"]
    assert (state["stopped"], state["seed_wired"]) == ("nothing_new", False)
    assert state["iterations"][0]["seed"] is None, "the image was not made with it"
    again = close([0.5], images(1), refined_prompt=["a better cat"])
    assert again.expand is not None, "another prompt gives another image"


def test_the_number_of_the_iteration_may_stand_for_a_seed(close: Any, images: Any, prompt: Prompt) -> None:
    prompt.nodes["make"]["inputs"]["seed"] = ["open", 2]
    assert close([0.5], images(1), refined_prompt=["a cat"]).expand is not None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"close": {"critique": None}}, "needs a critique or a reward"),
        ({"make": {"prompt": "a dog", "seed": 1}}, "Nothing between Loop Start and Loop Until Score changes"),
        ({"open": {"prompt": "  "}}, "The request is empty"),
        ({"open": {"prompt": "Negative prompt: blurry"}}, "The request is empty"),
        ({"close": {"refined_negative": ["make", 0]}}, "connect the prompt output of Prompt Refine as well"),
    ],
)
def test_a_wiring_mistake_is_said_before_the_first_image(
    pack: Pack, prompt: Prompt, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], sentence: str
) -> None:
    from types import ModuleType

    context = ModuleType("comfy_execution.utils")
    vars(context)["get_executing_context"] = lambda: SimpleNamespace(node_id="open", prompt_id="p")
    monkeypatch.setitem(sys.modules, "comfy_execution.utils", context)
    node = pack.module("nodes.loop_start").LoopStart
    monkeypatch.setattr(node, "hidden", SimpleNamespace(dynprompt=prompt))
    node.execute("a cat", 7, "fixed")
    for node_id, inputs in change.items():
        for name, value in inputs.items():
            prompt.nodes[node_id]["inputs"].update({name: value})
            if value is None:
                del prompt.nodes[node_id]["inputs"][name]
    errors = pack.core("errors")
    with pytest.raises((errors.ConfigError, errors.RequestError), match=sentence):
        node.execute(prompt.nodes["open"]["inputs"]["prompt"], 7, "fixed")


def test_the_negative_prompt_is_apart_once_it_is_wired(
    pack: Pack, prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, text = pack.module("nodes.loop_start").LoopStart, "a cat\nNegative prompt: blurry"
    monkeypatch.setattr(node, "hidden", SimpleNamespace(dynprompt=prompt))
    monkeypatch.setattr(pack.module("nodes.loop_start"), "executing_node", lambda: "open")
    monkeypatch.setattr(pack.module("nodes.loop_start"), "_skipped", lambda dynprompt, flow: False)
    assert [node.execute(text, 7, "fixed").args[slot] for slot in (0, 4, 6)] == [text, text, ""]
    prompt.nodes["make"]["inputs"]["negative"] = ["open", 6]
    out = node.execute(text, 7, "fixed").args
    assert [out[slot] for slot in (0, 4, 6)] == ["a cat", "a cat", "blurry"]
    assert out[3].prompt == out[3].original == text, "the loop carries both in one text"


def test_a_wish_to_stop_ends_it_and_changes_its_fingerprint(close: Any, images: Any, pack: Pack) -> None:
    board = pack.module("nodes.loop.board").BOARD
    before = board.wishes("close")
    board.ask_to_stop("p", "close")
    output = close([0.5], images(1))
    assert output.ui["rr_loop"][0]["stopped"] == "stopped"
    assert board.wishes("close") == before + 1


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"flow": [1, 2]}, "one prompt at a time"),
        ({"threshold": [7.0]}, "threshold must be between 0 and 1"),
        ({"reward": None}, "needs a critique or a reward"),
    ],
)
def test_what_cannot_be_is_said(close: Any, images: Any, pack: Pack, changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(pack.core("errors").ConfigError, match=sentence):
        close([0.5], images(1), **changed)


def test_an_empty_batch_is_said(close: Any, images: Any, pack: Pack) -> None:
    with pytest.raises(pack.core("errors").ConfigError, match="no image to judge"):
        close([], images(1)[:0])


def test_loop_start_ignores_what_only_a_loop_may_write(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    node = pack.module("nodes.loop_start").LoopStart
    inputs = {"prompt": "a cat", "seed": 7, "iteration": 3, "original": "a dog", "base_seed": 4}
    prompt = Prompt({"7": {"class_type": "RR_LoopStart", "inputs": inputs}})
    monkeypatch.setattr(node, "hidden", SimpleNamespace(dynprompt=prompt))
    assert node.execute("a cat", 7, "fixed").args[2] == 0
    prompt.parents["7"] = "close"  # an expansion made it
    text, seed, iteration, flow, original, image, negative = node.execute("a cat", 2**32 + 7, "fixed").args
    assert (image, negative) == (None, "")
    assert (text, seed, iteration, original) == ("a cat", 7, 3, "a dog")
    assert (flow.base_seed, flow.seeds, flow.iteration) == (4, "fixed", 3)


def test_one_default_per_rule_in_the_core_and_in_the_nodes(pack: Pack) -> None:
    policy = pack.core("loop.refine").RefinePolicy()
    defaults = {
        entry.id: entry.default
        for entry in pack.module("nodes.loop.inputs").until_inputs()
        if hasattr(entry, "default")
    }
    rules = ("threshold", "max_iterations", "patience", "minimum_gain", "minimum_score", "refine_from")
    assert {name: defaults[name] for name in rules} == {name: getattr(policy, name) for name in rules}
    gate = pack.module("nodes.multi_dim_score").MultiDimScore.define_schema()
    assert next(entry.default for entry in gate.inputs if entry.id == "threshold") == policy.threshold


@pytest.mark.parametrize("silent", [False, True])
def test_a_saved_picture_tells_its_story_unless_pictures_are_to_say_nothing(
    close: Any, images: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, silent: bool
) -> None:
    from PIL import Image

    folders = sys.modules["folder_paths"]
    monkeypatch.setattr(sys.modules["comfy.cli_args"].args, "disable_metadata", silent, raising=False)
    monkeypatch.setattr(folders, "get_output_directory", lambda: str(tmp_path))
    close([0.9], images(1), save=["best image"])
    (file,) = (tmp_path / "rationalrewards" / "loops").glob("reward_0.900_*.png")
    with Image.open(file) as picture:
        assert ("parameters" in picture.info) is not silent
        assert ("rationalrewards" in picture.info) is not silent
