"""A tuned generator that is guided by the shipped one: what training changed is added, not multiplied by the guidance.

Guidance g draws by v_none + g (v_caption - v_none), so whatever training changed in v_caption acts g times, although it was
learnt without guidance, or with it as a whole. Here the guided velocity is the shipped generator's, and the change d of the
velocity with caption is added with a weight of its own: v_none + g (v_caption - v_none) + w d. The weight is arXiv 2508.21016's,
there on the velocities as they are; that the pass without caption is the shipped one's is 2503.20240's. With w = g two
passes a step are enough, else there are three.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rationalrewards_core.miniature.generator import MiniatureGenerator

from ..nft_proof.rivals import tuned_generator
from .table import Recipe


def generator_in_use(recipe: Recipe, lora: Path | None) -> MiniatureGenerator:
    """The tuned generator as the recipe would have it used; the shipped one, with the recipe's guidance, if None."""
    generator = tuned_generator(lora, recipe.guidance)
    if lora is not None and recipe.shift_weight is not None:
        add_shift(generator._pipeline.transformer, recipe.shift_weight / recipe.guidance)
    return generator


def add_shift(transformer: Any, share: float) -> None:
    """From now on a guided pass, rows without caption first, gives v_none and v_caption + share d of the shipped weights.

    The pipeline's own formula makes w = g share of that share. The transformer has one adapter.
    """
    inner = transformer.forward

    def one_pass(rows: slice, tuned: bool, tensors: dict[str, Any]) -> Tensor:
        (transformer.enable_adapters if tuned else transformer.disable_adapters)()
        part = {name: value[rows] if torch.is_tensor(value) else value for name, value in tensors.items()}
        velocity: Tensor = inner(**part)[0]
        return velocity

    def forward(**tensors: Any) -> tuple[Tensor]:
        half = len(tensors["hidden_states"]) // 2
        caption = one_pass(slice(half, None), True, tensors)
        if share == 1.0:
            return (torch.cat([one_pass(slice(half), False, tensors), caption]),)
        shipped = one_pass(slice(None), False, tensors)
        return (torch.cat([shipped[:half], torch.lerp(shipped[half:], caption, share)]),)

    transformer.forward = forward
