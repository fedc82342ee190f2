"""Families that the loop does not know: a random Qwen2.5-VL writes what guided `generate()` writes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("xgrammar")

import torch

from rationalrewards_core.backends import transformers_local
from rationalrewards_core.backends.base import Finish, Reply, Sampling
from rationalrewards_core.backends.checkpoint import Checkpoint, CheckpointConfig
from rationalrewards_core.backends.decoding.decoder import Decoder
from rationalrewards_core.backends.decoding.rows import Row
from rationalrewards_core.backends.decoding.through_generate import GenerateDecoder
from rationalrewards_core.errors import Interrupted, RequestError
from rationalrewards_core.miniature import scorer_folder
from tests.core.decoding.random_checkpoint import (
    GRAMMARS,
    REQUESTS,
    STOP,
    VOCABULARY,
    asked,
    compiled,
    guided_generate,
    random_checkpoint,
)


@cache
def older_family() -> Checkpoint:
    from transformers import GenerationConfig, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 2, 2]},
        "eos_token_id": STOP,
        "pad_token_id": 0,
        "bos_token_id": None,
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_heads": 2,
        "patch_size": 4,
        "window_size": 32,
        "fullatt_block_indexes": [1],
        "out_hidden_size": 48,
    }
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=5,
        video_token_id=6,
        vision_start_token_id=3,
        vision_end_token_id=4,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(config).float().eval().requires_grad_(False)
    for name, weight in model.named_parameters():
        weight.data = torch.randn_like(weight) * (1.0 if "embed" in name else 0.3) + (1.0 if "norm" in name else 0.0)
    model.generation_config = GenerationConfig(eos_token_id=STOP, pad_token_id=0)
    return replace(random_checkpoint(0), model=model)


def written(decoder: GenerateDecoder, *samplings: Sampling, **options: Any) -> list[Row]:
    rows = [decoder.row(messages, how) for messages, how in zip(REQUESTS, samplings, strict=False)]
    decoder.run(rows, **options)
    return rows


def test_the_loop_leaves_this_family_to_generate() -> None:
    assert not Decoder.fits(older_family())
    assert Decoder.fits(random_checkpoint(0))


@pytest.mark.parametrize("grammar", GRAMMARS)
@pytest.mark.parametrize("stop", [(), ("b", "é")])
def test_a_batch_is_what_guided_generate_writes_of_each(grammar: str | None, stop: tuple[str, ...]) -> None:
    samplings = [Sampling(max_tokens=14 - 3 * n, grammar=grammar, stop=stop, alternatives=4) for n in range(3)]
    rows = written(GenerateDecoder(older_family()), *samplings)
    mask = None if grammar is None else compiled(0, grammar)
    for row, messages, how in zip(rows, REQUESTS, samplings, strict=True):
        ids, text, finish, alternatives = guided_generate(older_family(), messages, how, mask)
        assert (row.ids, row.text(), row.finish) == (ids, text, finish)
        decode = older_family().tokeniser.decode
        theirs = alternatives.of_row(0, ids, lambda token: str(decode([token])))  # noqa: B023
        for ours, old in zip(row.tokens(), theirs, strict=True):
            assert ours.text == old.text
            if ours.alternatives:
                assert [p for _, p in ours.alternatives] == pytest.approx([p for _, p in old.alternatives], abs=1e-5)


def test_every_picture_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, read = older_family(), []
    processor = checkpoint.image_processor

    class Counting:
        merge_size = processor.merge_size

        def __call__(self, images: list[object], **options: object) -> object:
            read.append(len(images))
            return processor(images, **options)

    decoder = GenerateDecoder(replace(checkpoint, image_processor=Counting()))
    written(decoder, *[Sampling(max_tokens=2)] * len(REQUESTS))
    assert sum(read) == sum(len(message.images) for messages in REQUESTS for message in messages) > 0


def test_a_row_that_ends_at_once_leaves_the_others_alone() -> None:
    short, long = Sampling(max_tokens=9, grammar='root ::= ""'), Sampling(max_tokens=9)
    rows = written(GenerateDecoder(older_family()), short, long)
    assert (rows[0].text(), rows[0].finish) == ("", Finish.STOP)
    assert rows[1].ids == guided_generate(older_family(), REQUESTS[1], long)[0]


def test_cancelled_and_interrupted() -> None:
    decoder = GenerateDecoder(older_family())
    rows = [decoder.row(messages, Sampling(max_tokens=12)) for messages in REQUESTS]
    passes: list[int] = []

    def after_pass() -> None:
        passes.append(1)
        rows[1].cancelled = len(passes) >= 4
        if len(passes) == 7:
            raise Interrupted("enough")

    with pytest.raises(Interrupted):
        decoder.run(rows, after_pass)
    assert [len(row.ids) for row in rows] == [7, 4, 7]


def test_the_context_is_a_limit_here_too() -> None:
    with pytest.raises(RequestError, match="shorten the request"):
        GenerateDecoder(older_family()).row(asked("a " * 2040), Sampling())


def test_the_engine_judges_through_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers_local, "load_checkpoint", lambda config: older_family())
    engine = transformers_local.TransformersLocal(CheckpointConfig(model=str(scorer_folder()), device="cpu"))

    async def work() -> list[Reply]:
        return list(await asyncio.gather(*(engine.reply(m, Sampling(max_tokens=8)) for m in REQUESTS)))

    replies = asyncio.run(work())
    engine.unload()
    expected = [guided_generate(older_family(), m, Sampling(max_tokens=8))[1] for m in REQUESTS]
    assert [reply.text for reply in replies] == expected
    assert all(reply.prompt_tokens and reply.completion_tokens == 8 for reply in replies)
