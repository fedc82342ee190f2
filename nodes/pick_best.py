"""Pick Best: the image with the highest reward, from critiques or from plain rewards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from comfy_api.latest import io

from ..rationalrewards_core.errors import ConfigError
from .schema import schema
from .sockets import CritiqueSocket


class PickBest(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RR_PickBest",
            display_name="Pick Best",
            description="The image with the highest reward. Images that could not be judged are never picked.",
            search_aliases=["best of n", "select best", "top", "reward", "rationalrewards"],
            is_input_list=True,
            inputs=[
                io.Image.Input("images", tooltip="A batch, or a list of images, to pick from."),
                CritiqueSocket.Input(
                    "critique", optional=True, tooltip="Critiques of these images, in the same order."
                ),
                io.Float.Input(
                    "rewards",
                    optional=True,
                    force_input=True,
                    tooltip="Instead of critiques: one number per image, higher is better; NaN and infinity are never picked.",
                ),
            ],
            outputs=[
                io.Image.Output("image", tooltip="The best image."),
                io.Int.Output("index", tooltip="Its position, from 0."),
                io.Float.Output("reward", tooltip="Its reward."),
            ],
        )

    @classmethod
    def execute(
        cls, images: list[Any], critique: list[Any] | None = None, rewards: list[float] | None = None
    ) -> io.NodeOutput:
        from ..rationalrewards_core.judged import best
        from .judge.ranking import blocked

        candidates = [batch[index : index + 1] for batch in images for index in range(len(batch))]
        values = rewards_of(critique, rewards)
        if len(values) != len(candidates):
            raise ConfigError(
                f"There are {len(candidates)} images and {len(values)} rewards; connect the critiques of these images."
            )
        index = best(values)
        if index is None:
            reason = blocked(f"None of the {len(candidates)} images could be judged, so none is the best.")
            return io.NodeOutput(reason, reason, reason)
        return io.NodeOutput(candidates[index], index, values[index])


def rewards_of(critique: Sequence[Any] | None, rewards: Sequence[float] | None) -> list[float | None]:
    """One number per image, None where it is unscored, from whichever input is connected.

    NaN, which a FLOAT wire carries for an unscored image, and infinity are no rewards.
    """
    if (critique is None) == (rewards is None):
        raise ConfigError("Connect either critique or rewards, and not both.")
    if rewards is not None:
        return [float(value) if math.isfinite(value) else None for value in rewards]
    return [value for critiques in critique or () for value in critiques.rewards]
