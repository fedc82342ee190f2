"""Which iterations are the same: keys of pictures and judgements, and when a Loop Start is asked again."""

from __future__ import annotations

import copy
import math
import sys
from typing import Any

import pytest

from tests.nodes.comfy_stub import Pack
from tests.nodes.test_loop_graph import DynamicPrompt, simple


def looped() -> dict[str, Any]:
    nodes = simple()
    nodes["open"]["inputs"] = {"prompt": "a cat", "seed": 7, "seed_policy": "increment"}
    nodes["close"]["inputs"]["flow"] = ["open", 3]
    nodes["make"]["inputs"] |= {"seed": ["open", 1], "model": "cat.safetensors"}
    return nodes


@pytest.fixture
def keys(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> Any:
    """(key of the picture, of the judgement, of the whole loop) for a prompt, a request and a seed."""
    modules = {name: pack.module(f"nodes.loop.{name}") for name in ("keys", "state")}

    def of(nodes: dict[str, Any], request: str = "a cat", seed: int = 7) -> tuple[Any, Any, Any]:
        classes = {node["class_type"]: type("Node", (), {"OUTPUT_NODE": False}) for node in nodes.values()}
        monkeypatch.setattr(sys.modules["nodes"], "NODE_CLASS_MAPPINGS", classes)
        start = next(name for name, node in nodes.items() if node["class_type"] == "RR_LoopStart")
        loop = modules["keys"].loop_keys(DynamicPrompt(nodes), "p", start, lambda _: False)
        flow = modules["state"].first_flow(request, seed, "increment")
        return loop.picture(flow, loop.given), loop.judgement(flow, loop.given), loop.whole()

    return of


def changed(node: str, **inputs: Any) -> dict[str, Any]:
    nodes = looped()
    nodes[node]["inputs"].update(inputs)
    return nodes


def test_ids_do_not_matter_and_everything_else_does(keys: Any) -> None:
    picture, judgement, whole = keys(looped())
    assert None not in (picture, judgement, whole)
    renamed = {
        f"12:{name}": {
            **node,
            "inputs": {
                key: [f"12:{value[0]}", value[1]] if isinstance(value, list) else value
                for key, value in node["inputs"].items()
            },
        }
        for name, node in looped().items()
    }
    assert keys(renamed)[0] == picture
    for other in (keys(looped(), seed=8), keys(looped(), "a dog"), keys(changed("make", steps=20))):
        assert other[0] != picture
        assert other[1] != judgement, "another picture is judged anew"
    assert keys(changed("close", max_iterations=9))[:2] == (picture, judgement)
    assert keys(changed("close", max_iterations=9))[2] != whole


def test_a_node_that_runs_every_time_spoils_what_depends_on_it_alone(keys: Any) -> None:
    picture, _, _ = keys(looped())
    restless = looped()
    restless["make"]["is_changed"] = [math.nan]
    assert keys(restless)[:2] == (None, None)
    moody = copy.deepcopy(looped())
    judge = moody["close"]["inputs"]["critique"][0]
    moody[judge]["is_changed"] = math.nan
    assert keys(moody)[:2] == (picture, None)
    strange = changed("make", thing=object())
    assert keys(strange)[0] is None


def test_a_file_counts_by_size_and_time(keys: Any) -> None:
    import os
    from pathlib import Path

    import folder_paths

    before = keys(looped())[0]
    file = Path(folder_paths.get_folder_paths("loras")[0], "cat.safetensors")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"weights")
    there = keys(looped())[0]
    os.utime(file, (1, 1))
    assert len({before, there, keys(looped())[0]}) == 3
    file.unlink()


def test_a_loop_start_is_asked_again_when_something_has_changed(pack: Pack) -> None:
    first = pack.module("nodes.loop.replay").FirstIterations()
    made = first.fingerprint("1", "loop", False)
    assert first.fingerprint("1", "loop", True) == made, "unchanged: nothing runs, nor does what is behind the loop"
    assert first.fingerprint("1", "edited", False) == made, "a body edit keeps what the core has of the rest"
    kept = first.fingerprint("1", "loop", True)
    assert kept != made
    first.skipped("1")
    assert first.fingerprint("1", "edited", False) == made
    first.skipped("1")  # although the fingerprint said that it is made
    assert first.fingerprint("1", "edited", False) == made
    assert first.fingerprint("1", "another", False) != made, "the core may remember the blockers under the old one"
