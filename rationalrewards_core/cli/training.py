"""`rationalrewards train`: handed on to the training package, which has its own needs and its own command line."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigError

PACKAGE = "rationalrewards_training"
CHECKOUT = "training"
NEEDS = ("torch", "transformers", "peft", "accelerate", "diffusers")


def train(words: Sequence[str]) -> int:
    """The exit code of the training package's command line. ConfigError says what to install."""
    package = _package()
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"Training needs {missing[0]}: pip install 'rationalrewards[training]'.")
    code: int = importlib.import_module(f"{package}.personal.__main__").main(list(words))
    return code


def _package() -> str:
    """The installed package, or the folder beside the core in a checkout."""
    if importlib.util.find_spec(PACKAGE) is not None:
        return PACKAGE
    root = Path(__file__).resolve().parents[2]
    if not (root / CHECKOUT / "personal").is_dir():
        raise ConfigError("The training package is not here: pip install 'rationalrewards[training]'.")
    sys.path.insert(0, str(root))
    return CHECKOUT
