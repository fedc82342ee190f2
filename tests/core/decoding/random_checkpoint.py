"""Tiny Qwen3-VL checkpoints with random weights, and what guided `generate()` of transformers writes with them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.old_decoding import Alternatives, GrammarMask, StepWatch
from rationalrewards_core.backends.base import Finish, Sampling
from rationalrewards_core.backends.checkpoint import Checkpoint
from rationalrewards_core.backends.qwen_chat import model_inputs
from rationalrewards_core.backends.special_tokens import special_ids
from rationalrewards_core.messages import Message
from rationalrewards_core.miniature import scorer_folder

VOCABULARY = 608
"""Eight more than the miniature's tokeniser has, as real checkpoints have some."""
STOP = 2
GROUPS = {0: 2, 1: 4, 2: 1}
"""Key-value heads of each seed's model: shared by two, by none, by all."""


@cache
def random_checkpoint(seed: int = 0) -> Checkpoint:
    """fp32 on the CPU, with the miniature's tokeniser; its pictures may have 16 x 16 to 40 x 40 pixels."""
    from transformers import AutoImageProcessor, AutoTokenizer

    from rationalrewards_core.backends.checkpoint import by_pillow

    tokeniser = AutoTokenizer.from_pretrained(scorer_folder())
    tokeniser.padding_side = "left"
    processor = AutoImageProcessor.from_pretrained(scorer_folder(), **by_pillow())
    processor.size = {"shortest_edge": 256, "longest_edge": 1600}
    return Checkpoint(_random_model(seed), tokeniser, processor, "cpu")


def _random_model(seed: int) -> Any:
    from transformers import GenerationConfig, Qwen3VLConfig, Qwen3VLForConditionalGeneration

    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_interleaved": True, "mrope_section": [4, 2, 2]}
    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": GROUPS[seed % len(GROUPS)],
        "head_dim": 16,
        "max_position_embeddings": 2048,
        "rope_parameters": rope,
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
        "deepstack_visual_indexes": [0, 1][: 1 + seed % 2],
        "out_hidden_size": 48,
    }
    config = Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=5,
        video_token_id=6,
        vision_start_token_id=3,
        vision_end_token_id=4,
        tie_word_embeddings=False,
    )
    torch.manual_seed(seed)
    model = Qwen3VLForConditionalGeneration(config).float().eval().requires_grad_(False)
    for name, weight in model.named_parameters():
        spread = 1.0 if "embed" in name else 0.3 if weight.dim() > 1 else 0.1
        weight.data = spread * torch.randn_like(weight) + (1.0 if "norm" in name and "bias" not in name else 0.0)
    model.generation_config = GenerationConfig(eos_token_id=STOP, pad_token_id=0)
    return model


def picture(seed: int, width: int = 24, height: int = 24) -> Image.Image:
    """Noise, so that two seeds never look alike to the tower."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def asked(*parts: str | Image.Image) -> list[Message]:
    return [Message("user", parts)]


@cache
def compiled(checkpoint_seed: int, grammar: str) -> Any:
    """The grammar for the tokeniser of a random checkpoint."""
    import xgrammar

    tokeniser = random_checkpoint(checkpoint_seed).tokeniser
    described = xgrammar.TokenizerInfo.from_huggingface(tokeniser, vocab_size=VOCABULARY, stop_token_ids=[STOP])
    return xgrammar.GrammarCompiler(described).compile_grammar(grammar)


class NoSpecial:
    """A logits processor that leaves no special token but the end."""

    def __init__(self, tokeniser: Any) -> None:
        self._special = special_ids(tokeniser, [STOP])

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        scores[:, self._special] = float("-inf")
        return scores


def guided_generate(
    checkpoint: Checkpoint, messages: Sequence[Message], sampling: Sampling, grammar: Any = None
) -> tuple[list[int], str, Finish, Alternatives]:
    """Ids, text, finish and alternatives of one greedy reply, masked by the compiled `grammar` at every step."""
    inputs = model_inputs(checkpoint, [messages])
    start = inputs["input_ids"].shape[1]
    alternatives = Alternatives(max(1, sampling.alternatives))
    masks = [] if grammar is None else [NoSpecial(checkpoint.tokeniser), GrammarMask(grammar, 1, checkpoint.vocabulary)]
    watch = StepWatch(checkpoint.tokeniser, start, sampling.stop, lambda row: False, lambda done: None)
    with torch.inference_mode():
        output = checkpoint.model.generate(
            **inputs,
            max_new_tokens=min(sampling.max_tokens, checkpoint.context - start),
            do_sample=False,
            logits_processor=[*masks, alternatives],
            stopping_criteria=[watch],
        )
    ids = output[0, start:].tolist()
    ended = STOP in ids
    ids = ids[: ids.index(STOP)] if ended else ids
    text = checkpoint.tokeniser.decode(ids, skip_special_tokens=True)
    cuts = [text.index(stop) for stop in sampling.stop if stop in text]
    text = text[: min(cuts)] if cuts else text
    return ids, text, Finish.STOP if ended or cuts else Finish.LENGTH, alternatives


REQUESTS = [asked("What is it? ", picture(1)), asked("Say."), asked(picture(2, 60, 16), " or ", picture(3), "?")]
GRAMMARS = [None, 'root ::= "Score: " [1-4] "." [0-9] " " [a-z]*', 'root ::= ("ab" | "cé")+ "."']
