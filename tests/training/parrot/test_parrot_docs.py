"""The document's commands, data sets and reasons are real."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from training.data.importers.catalogue import DATASETS
from training.lab.parrot_proof.__main__ import build_parser as build_proof_parser
from training.parrot.options import build_parser

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "parrot.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", TEXT, flags=re.DOTALL)
    for line in block.splitlines()
    if line.startswith("python -m training.parrot ")
]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_understood(line: str) -> None:
    words = shlex.split(line)[3:]
    assert build_parser().parse_args(words).command == words[0]


def test_every_command_is_shown() -> None:
    assert {line.split()[3] for line in COMMANDS} == {"import", "rationalize", "check", "project", "export", "report"}


def test_every_data_set_is_listed() -> None:
    listed = re.findall(r"^\| `([\w-]+)` \|", TEXT, flags=re.MULTILINE)
    assert set(DATASETS) <= set(listed)


def test_every_option_named_exists() -> None:
    known = set(re.findall(r"--[a-z][a-z-]+", _all_help()))
    for option in set(re.findall(r"`(--[a-z][a-z-]+)", TEXT)):
        assert option in known, option


def _all_help() -> str:
    parser = build_parser()
    (commands,) = (action for action in parser._actions if hasattr(action, "choices") and action.dest == "command")
    return "".join(sub.format_help() for sub in (*commands.choices.values(), build_proof_parser()))


@pytest.mark.parametrize(
    "reason",
    ["states_label", "no_evidence", "wrong_order", "too_close", "tie_apart", "mentions_hint"],
)
def test_reasons_named_are_written_by_the_code(reason: str) -> None:
    assert f"`{reason}`" in TEXT
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "training" / "parrot").glob("*.py")]
    assert any(f'"{reason}"' in source for source in sources)
