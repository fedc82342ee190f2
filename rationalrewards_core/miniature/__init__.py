"""The miniature: a small scorer and a small generator for a closed world of shapes, shipped with the package.

It is the embedded default and the proof that everything works: the scorer is loaded by the same code
as an 8B checkpoint, the generator is an ordinary diffusers pipeline. It can judge nothing but its own
world: coloured shapes, their sizes and relations, and short words (`world`).
"""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError

WEIGHTS = Path(__file__).parent / "weights"
EXAMPLE = 'a large red circle left of a small blue square with the word "OK"'
"""A request of the world (see `world`)."""


def scorer_folder() -> Path:
    """The scorer's checkpoint folder."""
    return _shipped("scorer", "config.json")


def generator_folder() -> Path:
    """The generator's diffusers folder."""
    return _shipped("generator", "model_index.json")


def _shipped(name: str, marker: str) -> Path:
    folder = WEIGHTS / name
    if not (folder / marker).is_file():
        raise ConfigError(
            f"The miniature's {name} weights are missing from {folder}; install the package again, or train them "
            f"with `python -m training.lab.miniature.{name} --ship {folder}` from a checkout."
        )
    return folder
