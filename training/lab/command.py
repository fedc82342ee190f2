"""The command line of a comparison: its options as flags, its summary printed, a refusal as one sentence."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from rationalrewards_core.errors import RationalRewardsError

Options = TypeVar("Options")


def comparison_parser(module: str, about: str | None, defaults: Any) -> argparse.ArgumentParser:
    """`--out`, and a flag for every whole number among the options, a dataclass whose `defaults` are given."""
    parser = argparse.ArgumentParser(
        prog=f"python -m training.lab.{module}", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs") / module.replace("_", "-"))
    for field in fields(defaults):
        value = getattr(defaults, field.name)
        if isinstance(value, int):
            parser.add_argument(f"--{field.name.replace('_', '-')}", type=int, default=value, help=f"default {value}")
    return parser


def run_comparison(
    compare: Callable[[Options, Path], dict[str, Any]], kind: Callable[..., Options], flags: argparse.Namespace
) -> None:
    """Compare with the options that the flags come to, and print what came of it as JSON.

    SystemExit with the sentence where it is refused.
    """
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in vars(flags).items()}
    out = values.pop("out").absolute()
    try:
        summary = compare(kind(**values), out)
    except RationalRewardsError as error:
        raise SystemExit(f"{error}") from error
    print(json.dumps(summary, indent=2))
