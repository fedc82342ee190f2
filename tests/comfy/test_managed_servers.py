"""Servers that the nodes start, in a real ComfyUI: they share its memory, and go when they should."""

from __future__ import annotations

from typing import Any

import pytest

from tests.comfy.comfy_server import Comfy
from tests.comfy.inside import run_probe
from tests.llama_cpp import llama_python, write_miniature


@pytest.fixture(scope="module")
def seen(comfy: Comfy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("managed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        try:
            python = llama_python()
        except pytest.skip.Exception:
            patch.delenv("PROBE_GGUF", raising=False)
        else:
            models = folder / "gguf" / "judge"
            patch.setenv("PROBE_GGUF", str(write_miniature(models, python)))
            patch.setenv("PROBE_LLAMA_PYTHON", str(python))
        return run_probe(comfy, "managed", folder)


def test_it_is_started_by_the_first_question_and_known_to_comfyui(seen: dict[str, Any]) -> None:
    run = seen["lifetimes"]
    assert (run["before"], run["first"], run["present"]) == (False, [1.0], True)
    assert run["known"] == ["OccupantPatcher"]
    assert run["same_engine"] is True


def test_it_ends_when_comfyui_needs_the_memory_and_comes_back(seen: dict[str, Any]) -> None:
    assert seen["lifetimes"]["unloaded"] == [False, []]
    assert seen["lifetimes"]["back"] == [[1.0], True]


def test_it_ends_on_unload_and_after_each_run_where_that_was_asked(seen: dict[str, Any]) -> None:
    run = seen["lifetimes"]
    assert (run["unload_scorer"], run["unload_all"]) == (False, False)
    assert run["freed"] == [[1.0], False]


def test_what_the_memo_knows_starts_nothing(seen: dict[str, Any]) -> None:
    assert seen["lifetimes"]["memo"] == [[1.0], False]


def test_what_it_does_not_do_is_told_as_of_any_server(seen: dict[str, Any]) -> None:
    assert "Replies are not guided" in " ".join(seen["notes"]["tried"])
    assert seen["notes"]["own"] == [], "its config says that it is not to be probed"


def test_an_interrupt_ends_the_wait_and_not_the_server(seen: dict[str, Any]) -> None:
    run = seen["interrupted"]
    assert run["outcome"].startswith("InterruptProcessingException")
    assert run["soon"]
    assert run["present"] is True


def test_one_that_was_taken_away_while_it_judged_says_so(seen: dict[str, Any]) -> None:
    assert seen["taken_away"] == "BackendError: Server 'slow' was stopped while it was asked; ask again."


def test_one_that_does_not_start_is_one_sentence_with_its_last_line(seen: dict[str, Any]) -> None:
    assert seen["broken"].startswith("BackendError: Server 'broken' did not start (exit code 1); its last line was")
    assert "the weights are no weights" in seen["broken"]


def test_the_check_of_load_rational_scorer_says_what_the_doctor_says(seen: dict[str, Any]) -> None:
    lines = seen["checks"]["miniature"].splitlines()
    assert [line.split(":")[0] for line in lines] == [
        f"✓ {check}" for check in ("reached", "model", "sight", "pixels", "critique", "speed", "probabilities")
    ]
    assert seen["checks"]["blind"].startswith(
        "BackendError: own cannot judge: It does not see pictures: a prompt has 9 tokens"
    )


def test_a_gguf_file_judges_as_the_checkpoint_does(seen: dict[str, Any]) -> None:
    if "gguf" not in seen:
        llama_python()  # skips, and says why
    run = seen["gguf"]
    assert run["listed"] == ["LLM/judge/miniature-f32.gguf"]
    assert run["rewards"] == run["local"] == [1.0]
    assert (run["present"], run["unloaded"]) == (True, False)
