"""Qwen3.5-class judges: a tiny random one loads from its folder, judges, and writes what guided `generate()` writes.

Three of four of their layers keep a running state instead of keys and values, which cannot be taken back, so no drafts
are verified; and their chat template begins to think unless it is told not to.
"""

from __future__ import annotations

import asyncio
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers.models.qwen3_5")
pytest.importorskip("xgrammar")

import torch

from rationalrewards_core import UserRequest
from rationalrewards_core.backends.base import Sampling
from rationalrewards_core.backends.checkpoint import Checkpoint, CheckpointConfig, load_checkpoint
from rationalrewards_core.backends.decoding.decoder import Decoder
from rationalrewards_core.backends.decoding.through_generate import GenerateDecoder
from rationalrewards_core.backends.qwen_chat import chat_text
from rationalrewards_core.backends.transformers_local import TransformersLocal
from rationalrewards_core.judged import Case
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings
from tests.core.decoding.random_checkpoint import (
    GRAMMARS,
    REQUESTS,
    STOP,
    VOCABULARY,
    asked,
    compiled,
    guided_generate,
    picture,
    random_checkpoint,
)

PLAIN_TURNS = (
    "{%- for message in messages -%}<|im_start|>{{ message.role }}{{ '\\n' }}"
    "{%- if message.content is string -%}{{ message.content }}{%- else -%}{%- for part in message.content -%}"
    "{%- if part.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>{%- else -%}{{ part.text }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}<|im_end|>{{ '\\n' }}{%- endfor -%}"
)
SWITCHED = PLAIN_TURNS + (
    "{%- if add_generation_prompt -%}<|im_start|>assistant{{ '\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false -%}<think>{{ '\\n\\n' }}</think>{{ '\\n\\n' }}"
    "{%- else -%}<think>{{ '\\n' }}{%- endif -%}{%- endif -%}"
)
"""As Qwen3.5's template ends: it thinks unless it is told not to."""
ALWAYS = PLAIN_TURNS + "{%- if add_generation_prompt -%}<|im_start|>assistant{{ '\\n' }}<think>{{ '\\n' }}{%- endif -%}"
"""As that of Qwen3-VL-Thinking: it knows no switch."""
ANSWERS = "<|im_start|>assistant\n<think>\n\n</think>\n\n"


def random_model(layers: tuple[str, ...] = ("linear_attention", "full_attention", "linear_attention")) -> Any:
    from transformers import GenerationConfig, Qwen3_5Config, Qwen3_5ForConditionalGeneration

    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": len(layers),
        "layer_types": list(layers),
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "max_position_embeddings": 4096,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e4,
            "partial_rotary_factor": 0.5,
            "mrope_interleaved": True,
            "mrope_section": [2, 1, 1],
        },
        "eos_token_id": STOP,
        "pad_token_id": 0,
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_heads": 2,
        "patch_size": 4,
        "num_position_embeddings": 16,
        "out_hidden_size": 64,
    }
    config = Qwen3_5Config(
        text_config=text,
        vision_config=vision,
        image_token_id=5,
        video_token_id=6,
        vision_start_token_id=3,
        vision_end_token_id=4,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    model = Qwen3_5ForConditionalGeneration(config).float().eval().requires_grad_(False)
    for name, weight in model.named_parameters():
        if "A_log" in name or "dt_bias" in name:
            continue  # how fast a state fades: as the class begins with it
        spread = 1.0 if "embed" in name else 0.3
        weight.data = spread * torch.randn_like(weight) if weight.dim() > 1 else 1.0 + 0.1 * torch.randn_like(weight)
    model.generation_config = GenerationConfig(eos_token_id=STOP, pad_token_id=0)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder as the hub has them."""
    path = tmp_path_factory.mktemp("qwen35")
    like = random_checkpoint(0)
    random_model().save_pretrained(path)
    tokeniser = deepcopy(like.tokeniser)  # the other tests of the process share it
    tokeniser.chat_template = None
    tokeniser.save_pretrained(path)
    like.image_processor.save_pretrained(path)
    (path / "chat_template.jinja").write_text(SWITCHED, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Checkpoint:
    return load_checkpoint(CheckpointConfig(model=str(folder), precision="fp32", device="cpu"))


def test_it_is_the_hybrid_kind_and_left_to_generate(checkpoint: Checkpoint) -> None:
    assert checkpoint.model.config.model_type == "qwen3_5"
    assert set(checkpoint.model.config.text_config.layer_types) == {"linear_attention", "full_attention"}
    assert not Decoder.fits(checkpoint)


@pytest.mark.parametrize("grammar", GRAMMARS)
@pytest.mark.parametrize("stop", [(), ("b", "é")])
def test_a_batch_is_what_guided_generate_writes_of_each(
    checkpoint: Checkpoint, grammar: str | None, stop: tuple[str, ...]
) -> None:
    samplings = [Sampling(max_tokens=24 - 5 * n, grammar=grammar, stop=stop, alternatives=4) for n in range(3)]
    decoder = GenerateDecoder(checkpoint)
    rows = [decoder.row(messages, how) for messages, how in zip(REQUESTS, samplings, strict=True)]
    decoder.run(rows)
    mask = None if grammar is None else compiled(0, grammar)
    for row, messages, how in zip(rows, REQUESTS, samplings, strict=True):
        ids, text, finish, _ = guided_generate(checkpoint, messages, how, mask)
        assert (row.ids, row.text(), row.finish) == (ids, text, finish)


def test_the_template_is_told_not_to_think(checkpoint: Checkpoint) -> None:
    assert chat_text(checkpoint.tokeniser, REQUESTS[0]).endswith(ANSWERS)


def test_thoughts_that_a_template_always_begins_are_ended(checkpoint: Checkpoint) -> None:
    kept = checkpoint.tokeniser.chat_template
    try:
        checkpoint.tokeniser.chat_template = ALWAYS
        assert chat_text(checkpoint.tokeniser, REQUESTS[0]).endswith(ANSWERS)
        # A request that ends in the tag is the user's text, and stays what it was.
        assert chat_text(checkpoint.tokeniser, asked("say <think>")).count("<think>") == 2
    finally:
        checkpoint.tokeniser.chat_template = kept


@pytest.mark.parametrize("precision", ["fp32", "bf16", "nf4"])
def test_it_judges_by_the_rubric(folder: Path, precision: str) -> None:
    if precision == "nf4":
        pytest.importorskip("bitsandbytes")
    engine = TransformersLocal(CheckpointConfig(model=str(folder), precision=precision, device="cpu"))  # type: ignore[arg-type]
    scorer = Scorer(engine, settings=ScorerSettings(max_tokens=1500, ask_again=0))
    cases = [Case(UserRequest("A red circle."), picture(seed)) for seed in (1, 2)]

    async def judged() -> list[str]:
        try:
            return [
                type(o).__name__ if hasattr(o, "judgements") else str(o)
                for o in (await scorer.score_many(cases, "score")).outcomes
            ]
        finally:
            await scorer.close()

    outcomes = asyncio.run(judged())
    # Random weights never end a sentence, so a reply may be cut off; what it wrote is a critique's beginning.
    assert all(one == "Critique" or "cut off" in one for one in outcomes), outcomes


def test_an_older_transformers_is_named(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    import transformers

    from rationalrewards_core.errors import BackendError

    copy = Path(shutil.copytree(folder, tmp_path / "judge"))
    table = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(table | {"model_type": "qwen9", "transformers_version": "9.1.0"}))
    with pytest.raises(BackendError, match=r"written by transformers 9\.1\.0 and this is .*update that"):
        load_checkpoint(CheckpointConfig(model=str(copy), precision="fp32", device="cpu"))
    assert transformers.__version__
