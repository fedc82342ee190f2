"""The miniature scorer before training: a Qwen3-VL of a few million parameters, in transformers' own classes.

Everything a checkpoint folder needs: configuration, tokeniser with the rubric's headings as single
tokens, image processor, chat template, and the rubrics it is asked in.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from rationalrewards_core.critique import render_critique
from rationalrewards_core.miniature.flaws import Example, sample_edited, sample_generation
from rationalrewards_core.miniature.world import SIDE
from rationalrewards_core.reply_layout import SlotKind, fixed_stretches, reply_layout
from rationalrewards_core.rubric import Kind, Rubric, Wording
from rationalrewards_core.rubric_file import edit_rubric, generation_rubric, rubric_to_toml

from .tokenisers import train_tokeniser

CONTROL: Final = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>",
    "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
PATCH: Final = 4
MERGE: Final = 2
GRID: Final = SIDE // PATCH
"""Patches per side."""
IMAGE_TOKENS: Final = (GRID // MERGE) ** 2

_IMAGE_SETTINGS: Final = {
    "patch_size": PATCH,
    "merge_size": MERGE,
    "temporal_patch_size": 2,
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
}

CHAT_TEMPLATE: Final = (
    "{%- for message in messages -%}<|im_start|>{{ message.role }}\n"
    "{%- if message.content is string -%}{{ message.content }}{%- else -%}"
    "{%- for part in message.content -%}"
    "{%- if part.type in ('image', 'image_url') -%}<|vision_start|><|image_pad|><|vision_end|>"
    "{%- else -%}{{ part.text }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}<|im_end|>\n"
    "{%- endfor -%}{%- if add_generation_prompt -%}<|im_start|>assistant\n{%- endif -%}"
).replace("\n{%-", "{{ '\\n' }}{%-")


@dataclass(frozen=True, kw_only=True)
class StudentConfig:
    seed: int = 3
    vision_width: int = 128
    vision_layers: int = 6
    width: int = 192
    layers: int = 4
    vocabulary: int = 900


NUMBERED: Final[tuple[SlotKind, ...]] = ("analysis", "summary", "score", "comments", "refined", "justification")
"""The slots in the order in which the shipped tokeniser numbers what stands before them."""


def rubrics() -> dict[Kind, Rubric]:
    """The built-in rubrics without their guidelines: a miniature knows them by heart."""
    return {r.kind: _brief(r) for r in (generation_rubric(), edit_rubric())}


def _brief(rubric: Rubric) -> Rubric:
    return replace(
        rubric,
        name=f"miniature-{rubric.kind}",
        layout=replace(rubric.layout, guidelines=False),
        wording=Wording(source_label="Source ", candidate_label="Image "),
    )


def headings() -> list[str]:
    """The fixed stretches of a reply under both rubrics, each one token."""
    stretches = [stretch for rubric in rubrics().values() for stretch in fixed_stretches(reply_layout(rubric))]
    return list(dict.fromkeys(text for kind in NUMBERED for slot, text in stretches if slot.kind == kind))


def answer_text(example: Example) -> str:
    """The true critique of an example as a judge would write it."""
    kind: Kind = "edit" if example.source is not None else "generation"
    return render_critique(example.critique, rubrics()[kind])


def build_tokeniser(seed: int, vocabulary: int) -> PreTrainedTokenizerFast:
    rng = np.random.default_rng([seed, 0])
    corpus = ["user\nassistant\nsystem\nUser Instruction: Image Source "] * 100
    for _ in range(3000):
        for example in (sample_generation(rng), sample_edited(rng)):
            text = answer_text(example)
            for heading in headings():
                text = text.replace(heading, "\n")
            corpus += [text, f"User Instruction: {example.request}\n"]
    tokeniser = train_tokeniser(corpus, control=CONTROL, headings=headings(), vocabulary=vocabulary, min_frequency=15)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokeniser,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(CONTROL[1:]),
        model_max_length=4096,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def build_image_processor() -> Qwen2VLImageProcessorPil:
    pixels = SIDE * SIDE
    return Qwen2VLImageProcessorPil(size={"shortest_edge": pixels, "longest_edge": pixels}, **_IMAGE_SETTINGS)


def build_student(config: StudentConfig, tokeniser: PreTrainedTokenizerFast) -> Qwen3VLForConditionalGeneration:
    ids = {token: tokeniser.convert_tokens_to_ids(token) for token in CONTROL}
    torch.manual_seed(config.seed)
    model = Qwen3VLForConditionalGeneration(
        Qwen3VLConfig(
            tie_word_embeddings=True,
            text_config={
                "vocab_size": -(-len(tokeniser) // 64) * 64,
                "hidden_size": config.width,
                "intermediate_size": 512,
                "num_hidden_layers": config.layers,
                "num_attention_heads": config.width // 32,
                "num_key_value_heads": config.width // 96,
                "head_dim": 32,
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 10000.0,
                    "mrope_section": [8, 4, 4],
                    "mrope_interleaved": True,
                },
                "max_position_embeddings": 4096,
                "tie_word_embeddings": True,
                "pad_token_id": ids["<|endoftext|>"],
                "eos_token_id": ids["<|im_end|>"],
                "bos_token_id": None,
            },
            vision_config={
                "depth": config.vision_layers,
                "hidden_size": config.vision_width,
                "intermediate_size": 3 * config.vision_width,
                "num_heads": config.vision_width // 32,
                "patch_size": PATCH,
                "spatial_merge_size": MERGE,
                "temporal_patch_size": 2,
                "out_hidden_size": config.width,
                "num_position_embeddings": GRID * GRID,
                "deepstack_visual_indexes": [1, 3],
            },
            image_token_id=ids["<|image_pad|>"],
            video_token_id=ids["<|video_pad|>"],
            vision_start_token_id=ids["<|vision_start|>"],
            vision_end_token_id=ids["<|vision_end|>"],
        )
    )
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=ids["<|im_end|>"], pad_token_id=ids["<|endoftext|>"]
    )
    return model


def save_student(
    model: Qwen3VLForConditionalGeneration, tokeniser: PreTrainedTokenizerFast, folder: Path, dtype: torch.dtype
) -> None:
    """Write a checkpoint folder that any loader of Qwen3-VL opens, with its rubrics beside the weights."""
    model.to(dtype).save_pretrained(folder)
    tokeniser.save_pretrained(folder)
    build_image_processor().save_pretrained(folder)
    # transformers' own processor for this family wants a video processor, which cannot be built without torchvision.
    video = {**_IMAGE_SETTINGS, "processor_class": "Qwen3VLProcessor", "video_processor_type": "Qwen3VLVideoProcessor"}
    (folder / "video_preprocessor_config.json").write_text(json.dumps(video, indent=2) + "\n", encoding="utf-8")
    _write_older_names(folder)
    for kind, rubric in rubrics().items():
        (folder / f"rubric_{kind}.toml").write_text(rubric_to_toml(rubric), encoding="utf-8")


def _write_older_names(folder: Path) -> None:
    """Say what transformers 5 renamed under its older names too, so that transformers 4.57 opens the folder."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    text = config["text_config"]
    text["rope_theta"] = text["rope_parameters"]["rope_theta"]
    text["rope_scaling"] = {key: value for key, value in text["rope_parameters"].items() if key != "rope_theta"}
    config["text_config"] = dict(sorted(text.items()))
    tokens = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    tokens.pop("backend", None)
    tokens["tokenizer_class"] = "PreTrainedTokenizerFast"
    if "extra_special_tokens" in tokens:
        tokens["additional_special_tokens"] = tokens.pop("extra_special_tokens")
    for name, table in (("config.json", config), ("tokenizer_config.json", dict(sorted(tokens.items())))):
        (folder / name).write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
