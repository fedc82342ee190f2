"""ComfyUI's own Qwen3-VL as the judge, on the miniature's own weights: the same critiques as by transformers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.comfy.comfy_server import Comfy
from tests.comfy.inside import run_probe


@pytest.fixture(scope="module")
def seen(comfy: Comfy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_probe(comfy, "clip", tmp_path_factory.mktemp("clip"))


@pytest.fixture
def native(seen: dict[str, Any]) -> dict[str, Any]:
    if "too_old" in seen:
        pytest.skip("this ComfyUI has no Qwen3-VL of its own (0.26 and newer have)")
    return seen


def test_both_engines_write_the_same_critique(native: dict[str, Any]) -> None:
    for core, transformers in native["compared"]["pairs"]:
        assert core == transformers
    assert all(core == transformers is not None for core, transformers in native["compared"]["rewards"])
    assert len({core for core, _ in native["compared"]["pairs"]}) == len(native["compared"]["pairs"])


def test_a_picture_that_is_scaled_down_gets_the_same_critique(native: dict[str, Any]) -> None:
    core, transformers = native["compared"]["resized"]
    assert core == transformers


def test_images_get_the_size_that_transformers_gives_them(seen: dict[str, Any]) -> None:
    assert seen["sizes"] == [True] * 7


def test_score_mode_is_cut_at_its_stop_text(native: dict[str, Any]) -> None:
    assert native["compared"]["score_mode"] == [1.0, False]


def test_a_reply_at_the_limit_is_truncated_and_a_seed_repeats_it(native: dict[str, Any]) -> None:
    replies = native["replies"]
    assert replies["short"] == ["length", 7]
    assert replies["full"] == "stop"
    assert replies["prompt_tokens"][0] == replies["prompt_tokens"][1]
    first, again, other = replies["seeded"]
    assert first == again != other


def test_the_prompt_is_the_chat_template_and_names_no_embedding(native: dict[str, Any]) -> None:
    assert native["replies"]["template"] == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\na<|vision_start|><|image_pad|><|vision_end|>b<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert native["replies"]["embedding"] is False


def test_an_interrupt_ends_it_within_one_token_and_unload_frees_the_clip(native: dict[str, Any]) -> None:
    run = native["interrupted"]
    assert run["outcome"].startswith("InterruptProcessingException")
    assert run["tokens"] == 5
    assert run["next"] == 1.0
    assert run["held"] == [True, False]


def test_failures_are_one_sentence(native: dict[str, Any]) -> None:
    assert native["failures"]["memory"].startswith("BackendError: Out of memory on a single image")
    assert native["failures"]["other"] == "BackendError: ComfyUI's text generation failed: ValueError: shapes"


def test_a_clip_that_cannot_judge_is_refused_in_one_sentence(seen: dict[str, Any]) -> None:
    refusals = seen["refusals"]
    assert all(sentence.startswith("ConfigError: ") for sentence in refusals.values())
    assert "connect a Load CLIP" in refusals["none"]
    assert "0.26 or newer" in refusals["old_core"]
    assert "not a Qwen3-VL" in refusals["text_only"]
    assert "not a Qwen3-VL" in refusals["encoder_only"]
