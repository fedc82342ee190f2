"""Families: the few things that differ per diffusers model. Scheduler timesteps exist in here and nowhere else."""

from __future__ import annotations

from importlib import import_module

from rationalrewards_core.errors import ConfigError

from .base import ModelFamily

MODULES = {
    "miniature": "Miniature",
    "sd3": "StableDiffusion3",
    "flux": "Flux",
    "flux_kontext": "FluxKontext",
    "flux2": "Flux2",
    "flux2_klein": "Flux2Klein",
    "qwen_image": "QwenImage",
    "qwen_image_edit": "QwenImageEdit",
    "z_image": "ZImage",
}
"""Module in this package -> its class."""


def family_class(name: str) -> type[ModelFamily]:
    """The family of this name; ConfigError lists the known ones."""
    if name not in MODULES:
        raise ConfigError(f"model.family must be one of {', '.join(MODULES)}, not {name!r}.")
    family: type[ModelFamily] = getattr(import_module(f"{__name__}.{name}"), MODULES[name])
    return family
