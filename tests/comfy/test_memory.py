"""Our models under ComfyUI's model management: seen, evicted, brought back. Run in a real ComfyUI of any version."""

from __future__ import annotations

from typing import Any

import pytest

from tests.comfy.comfy_server import Comfy
from tests.comfy.inside import run_probe


@pytest.fixture(scope="module")
def seen(comfy: Comfy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_probe(comfy, "memory", tmp_path_factory.mktemp("memory"))


def test_unload_models_frees_the_judge_and_it_comes_back(seen: dict[str, Any]) -> None:
    run = seen["unload_all"]
    assert run["first"] == run["again"] == run["back"] == [1.0]
    assert run["loaded"]["known"] == ["OccupantPatcher"]
    assert run["loaded"]["bytes"] > 1_000_000
    assert run["kept"]
    assert run["gone"] == {"known": [], "present": False, "alive": False}


def test_free_after_each_run(seen: dict[str, Any]) -> None:
    assert seen["free_after_each_run"] == {"rewards": [1.0], "present": False, "known": []}


def test_edits_with_a_source_each_load_the_judge_once(seen: dict[str, Any]) -> None:
    assert seen["edits"] == {"scored": 3, "loads": 1}


def test_a_critique_that_the_memo_knows_loads_nothing(seen: dict[str, Any]) -> None:
    assert seen["memo"] == {"rewards": [1.0], "present": False}


def test_quantised_models_are_unloaded_whole_and_come_back(seen: dict[str, Any]) -> None:
    precisions = seen["quantised"]["seen"]
    assert all(run["present"] is False and run["rewards"] == run["back"] for run in precisions.values())
    assert precisions["nf4"]["bytes"] < precisions["auto"]["bytes"]
    assert all(run["rewards"] != [None] for run in precisions.values())


def test_few_engines_stay_known(seen: dict[str, Any]) -> None:
    assert seen["quantised"]["known_engines"] == seen["quantised"]["most"]


def test_all_or_nothing_in_every_memory_state(seen: dict[str, Any]) -> None:
    for state, (rewards, whole, left) in seen["card"]["states"].items():
        assert (rewards, whole, left) == ([1.0], True, False), state


def test_a_sampler_that_needs_the_room_gets_it(seen: dict[str, Any]) -> None:
    assert seen["card"]["sampler"] == {"with_room": True, "without_room": False, "known": ["ModelPatcher"]}
    assert seen["card"]["back"] == [[1.0], True]
