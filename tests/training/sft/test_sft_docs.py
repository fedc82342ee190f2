"""The commands of docs/training-your-own.md are understood, and its presets, judges and benchmarks are all there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("torch")

from rationalrewards_core.cli.parser import build_parser as core_parser
from training.data.benchmarks import BENCHMARKS
from training.evaluate.__main__ import build_parser as evaluate_parser
from training.rewards.scalars import SCALARS
from training.rewards.ties import PROTOCOLS
from training.sft.__main__ import build_parser as sft_parser
from training.sft.config import PRESETS

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "training-your-own.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", TEXT, flags=re.DOTALL) for line in block.splitlines()]
PARSERS = {"training.sft": sft_parser, "training.evaluate": evaluate_parser}


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_understood(line: str) -> None:
    words = shlex.split(line)
    if words[0] == "rationalrewards":
        assert core_parser().parse_args(words[1:]).command == words[1]
        return
    module = words[words.index("-m") + 1]
    arguments = words[words.index("-m") + 2 :]
    assert PARSERS[module]().parse_args(arguments).command == arguments[0]


def test_every_subcommand_is_shown() -> None:
    for module, commands in (
        ("training.sft", ("train", "scalar", "estimate", "merge")),
        ("training.evaluate", ("import", "judge", "report", "retest", "leakage", "gate")),
    ):
        for command in commands:
            assert any(f"{module} {command}" in line for line in COMMANDS), f"{module} {command} is not shown"


@pytest.mark.parametrize(
    "names", [PRESETS, BENCHMARKS, SCALARS, PROTOCOLS], ids=["presets", "benchmarks", "scalars", "ties"]
)
def test_every_name_is_listed(names: dict[str, object]) -> None:
    missing = [name for name in names if not re.search(rf"`(?:scalar:)?{re.escape(name)}`", TEXT)]
    assert not missing
