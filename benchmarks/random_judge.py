"""A judge of a real shape with random weights: what a pass costs does not depend on what the weights say.

Built from its config on the device, nothing is downloaded. `8b` is Qwen3-VL-8B's shape; `wide` has its
vocabulary and a width at which a CPU's arithmetic decides; `tiny` is for tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

SHAPES: dict[str, dict[str, Any]] = {
    "8b": {
        "text": {
            "hidden_size": 4096,
            "intermediate_size": 12288,
            "num_hidden_layers": 36,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "mrope_interleaved": True, "mrope_section": [24, 20, 20]},
        },
        "vision": {
            "depth": 27,
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_heads": 16,
            "patch_size": 16,
            "num_position_embeddings": 2304,
            "deepstack_visual_indexes": [8, 16, 24],
        },
        "vocabulary": 151_936,
        "side": 896,
    },
    "wide": {
        "text": {
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 16,
            "num_key_value_heads": 4,
            "head_dim": 64,
            "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "mrope_interleaved": True, "mrope_section": [12, 10, 10]},
        },
        "vision": {
            "depth": 4,
            "hidden_size": 256,
            "intermediate_size": 768,
            "num_heads": 4,
            "patch_size": 16,
            "num_position_embeddings": 256,
            "deepstack_visual_indexes": [1, 2],
        },
        "vocabulary": 151_936,
        "side": 256,
    },
    "tiny": {
        "text": {
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_interleaved": True, "mrope_section": [4, 2, 2]},
        },
        "vision": {
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "patch_size": 16,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        },
        "vocabulary": 4_096,
        "side": 64,
    },
}  # fmt: skip
IMAGE_TOKEN, START_TOKEN, END_TOKEN, STOP_TOKEN = 5, 3, 4, 2


def random_model(shape: str, precision: str, device: str) -> Any:
    """A `Qwen3VLForConditionalGeneration` in `bf16`, `fp32`, `int8` or `nf4`, ready to judge nonsense."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    sizes = SHAPES[shape]
    text = {**sizes["text"], "vocab_size": sizes["vocabulary"], "eos_token_id": STOP_TOKEN, "pad_token_id": 0}
    vision = {**sizes["vision"], "out_hidden_size": text["hidden_size"]}
    config = Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=IMAGE_TOKEN,
        vision_start_token_id=START_TOKEN,
        vision_end_token_id=END_TOKEN,
        tie_word_embeddings=False,
    )
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32 if precision == "fp32" else torch.bfloat16)
    try:
        with torch.device(device):
            model = Qwen3VLForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(default)
    model.generation_config.eos_token_id = STOP_TOKEN
    model.generation_config.pad_token_id = 0
    model = model.eval().requires_grad_(False)
    if precision in ("int8", "nf4"):
        _quantise(model.model.language_model.layers, precision, device)
    return model


def _quantise(layers: nn.ModuleList, precision: str, device: str) -> None:
    """Replace the decoder layers' linear modules, as the engine does when it loads (vision and head stay bf16)."""
    import bitsandbytes as bnb

    for parent, name, linear in list(_linears(layers)):
        sizes = (linear.in_features, linear.out_features)
        with torch.device("meta"):
            new: Any = (
                bnb.nn.Linear4bit(*sizes, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4")
                if precision == "nf4"
                else bnb.nn.Linear8bitLt(*sizes, bias=False, has_fp16_weights=False, threshold=6.0)
            )
        weight = linear.weight.data
        if precision == "nf4":
            new.weight = bnb.nn.Params4bit(weight, requires_grad=False, quant_type="nf4", compress_statistics=True)
        else:
            new.weight = bnb.nn.Int8Params(weight.cpu(), requires_grad=False, has_fp16_weights=False)
        setattr(parent, name, new.to(device).requires_grad_(False))


def _linears(layers: nn.ModuleList) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    for module in layers.modules():
        for name, child in module.named_children():
            if type(child) is nn.Linear:
                yield module, name, child
