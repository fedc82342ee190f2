"""Kill tests of the engines in a real ComfyUI: one clear sentence, the next run works, no model stays behind."""

from __future__ import annotations

from typing import Any

import pytest

from tests.comfy.comfy_server import Comfy
from tests.comfy.inside import run_probe

SCORED = {"rewards": [1.0, 0.6], "notes": []}


@pytest.fixture(scope="module")
def seen(comfy: Comfy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_probe(comfy, "engines", tmp_path_factory.mktemp("engines"))


def test_an_interrupt_ends_a_critique_within_one_pass(seen: dict[str, Any]) -> None:
    run = seen["interrupted"]
    assert run["outcome"].startswith("InterruptProcessingException")
    assert run["passes"] == 5  # the flag was raised in the fifth
    assert run["flag"] is False
    assert run["next"] == SCORED["rewards"]


def test_a_damaged_adapter_is_one_sentence_and_leaves_nothing_loaded(seen: dict[str, Any]) -> None:
    run = seen["adapters"]
    assert run["good"] == SCORED
    assert run["good_present"]
    for name in ("garbage", "cut"):
        assert run[name].startswith("BackendError: The adapter ")
        assert "\n" not in run[name]
        assert run[f"{name}_present"] is False
    assert run["next"] == SCORED


def test_a_changed_adapter_is_judged_with_again(seen: dict[str, Any]) -> None:
    assert seen["changed_adapter"] is True


def test_a_missing_checkpoint_says_what_to_download_and_where_to_put_it(seen: dict[str, Any]) -> None:
    sentence = seen["choices"]["missing"]
    assert "TIGER-Lab/RationalRewards-8B-T2I" in sentence
    assert "models/LLM/<name>/" in sentence
    assert "TIGER-Lab/RationalRewards-8B-T2I" in seen["none_yet"][0]
    assert seen["listed"] == ["LLM/judge", "miniature"]


def test_out_of_memory_is_tried_smaller_and_said(seen: dict[str, Any]) -> None:
    run = seen["memory"]
    assert run["once"]["rewards"] != [None]
    assert run["once"]["notes"][-1] == "Out of memory: 1 of 1 images were judged at 25% of their pixels."
    assert run["always"].startswith("BackendError: Out of memory on a single image")
    assert run["next"] == SCORED["rewards"]


def test_out_of_memory_while_loading_is_told_once_and_leaves_nothing_loaded(seen: dict[str, Any]) -> None:
    sentence, tries = seen["memory"]["load"]
    assert "does not fit into memory" in sentence
    assert tries <= 3  # not once per image: the model is tried again only with fewer pixels
    assert seen["memory"]["load_present"] is False
    assert seen["memory"]["after_load"] == SCORED["rewards"]


def test_a_server_that_goes_away_costs_its_images_and_nothing_else(seen: dict[str, Any]) -> None:
    run = seen["server"]
    scored = run["two"]["rewards"]
    assert None not in scored
    assert run["one"]["rewards"] == [scored[0], None]
    for name in ("none", "closed"):
        assert run[name].startswith("BackendError: Server 'judge'")
    assert run["back"]["rewards"] == scored
    assert run["interrupted"].startswith("InterruptProcessingException")


def test_a_workflow_can_name_nothing_outside_the_lists(seen: dict[str, Any]) -> None:
    for name, sentence in seen["choices"].items():
        assert sentence.startswith("ConfigError: "), name
        assert "\n" not in sentence, name
        assert len(sentence) < 300, name
    for name in ("parent", "absolute", "address", "adapter_address", "checkpoint_is_a_number", "rubric"):
        assert "not an address or a path" in seen["choices"][name], name
    assert "not an address" in seen["choices"]["server_address"]


def test_no_model_is_leaked(seen: dict[str, Any]) -> None:
    assert seen["leak"] == {"alive": False, "known": 0}
