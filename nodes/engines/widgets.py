"""Widgets that several engines have, and the checks of what a workflow holds in them."""

from __future__ import annotations

import math

from comfy_api.latest import io

from ...rationalrewards_core.errors import ConfigError

MEGAPIXELS = (0.05, 4.0)
USUAL_MEGAPIXELS = 0.8
IMAGES_TOGETHER = (1, 32)


def megapixels(tooltip: str) -> io.Float.Input:
    return io.Float.Input(
        "max_megapixels",
        default=USUAL_MEGAPIXELS,
        min=MEGAPIXELS[0],
        max=MEGAPIXELS[1],
        step=0.05,
        tooltip=tooltip,
    )


def images_together(usual: int, tooltip: str) -> io.Int.Input:
    return io.Int.Input("batch_size", default=usual, min=IMAGES_TOGETHER[0], max=IMAGES_TOGETHER[1], tooltip=tooltip)


def pixels(megapixels: object) -> int:
    return int(number("max_megapixels", megapixels, MEGAPIXELS) * 1_000_000)


def image_count(batch_size: object) -> int:
    return int(number("batch_size", batch_size, IMAGES_TOGETHER))


def one_of(key: str, value: object, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ConfigError(f"{key} must be one of {', '.join(allowed)}.")
    return str(value)


def number(key: str, value: object, between: tuple[float, float]) -> float:
    """A number of a workflow file, checked: nodes made by a loop do not pass ComfyUI's own checks."""
    low, high = between
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or not low <= value <= high
    ):
        raise ConfigError(f"{key} must be a number from {low:g} to {high:g}.")
    return value
