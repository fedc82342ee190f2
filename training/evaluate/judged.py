"""A judge's opinions on disk: one JSONL per judge with its settings beside it, so that judging can go on where it stopped."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rationalrewards_core.errors import ConfigError
from rationalrewards_core.jsonl import read_lines
from rationalrewards_core.storage import clear_unfinished, replace_file

from ..data.journal import Journal
from ..rewards.opinions import Opinion, opinion_from_json
from ..run_settings import changed_settings
from ..settings import read_settings


@dataclass
class JudgedSet:
    """One judge on one set of pairs."""

    judge: str
    """Name of the judge as tables show it: model, mode, precision."""
    opinions: list[Opinion]
    about: dict[str, Any] = field(default_factory=dict)
    """Settings, cost, and what is still open, by reason."""


class JudgedFile:
    """The opinions of one judge, which no other process may write meanwhile; a context manager.

    Settings of another run under the same name are refused, unless that run left no opinion.
    """

    def __init__(self, folder: Path, judge: str, settings: dict[str, Any]) -> None:
        stem = re.sub(r"[^\w.-]+", "_", judge).strip("_")
        self._about = folder / f"{stem}.json"
        busy = f"Another process is asking {judge} for {folder}; wait until it has ended, or choose another --out."
        self.journal = Journal(folder / f"{stem}.jsonl", busy=busy)
        try:
            self.opinions = {each.key: each for each in read_lines(self.journal.path, opinion_from_json)}
            """Opinions that are here already, by pair."""
            clear_unfinished(folder, self._about.name)
            self._table = self._settled(judge, settings)
            self._write()
        except BaseException:
            self.journal.close()
            raise

    def __enter__(self) -> JudgedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.journal.close()

    def note(self, **about: Any) -> None:
        """Keep what a run of the judge cost, and what it left open."""
        self._table |= about
        self._write()

    def _settled(self, judge: str, settings: dict[str, Any]) -> dict[str, Any]:
        table = {"judge": judge, "settings": settings}
        if not self._about.exists() or not self.opinions:
            return table
        before = _about(self._about)
        # A setting that is newer than the file was what it is by default now.
        changes = changed_settings({**settings, **before.get("settings", {})}, settings)
        if changes:
            raise ConfigError(
                f"{self._about} holds opinions of {judge} under other settings: {'; '.join(changes)}; "
                "choose another --out."
            )
        return before | table

    def _write(self) -> None:
        replace_file(self._about, [json.dumps(self._table, indent=2).encode() + b"\n"])


TABLES: Final = ("settings", "cost", "open")


def _about(path: Path) -> dict[str, Any]:
    """What stands beside a judge's opinions. ConfigError if it cannot be read as that."""
    table = read_settings(path)
    broken = next((name for name in TABLES if not isinstance(table.get(name, {}), Mapping)), None)
    if broken is not None:
        raise ConfigError(f"{path} is damaged: {broken} is no table; put the file back, or judge into another --out.")
    return table


def read_judged(folder: Path) -> list[JudgedSet]:
    """Every judge's opinions in a folder, by name. ConfigError if there are none, or a file is damaged."""
    sets = []
    for about in sorted(folder.glob("*.json")):
        table = _about(about)
        lines = about.with_suffix(".jsonl")
        if "judge" in table and lines.is_file():
            latest = {each.key: each for each in read_lines(lines, opinion_from_json)}
            sets.append(JudgedSet(table["judge"], list(latest.values()), table))
    if not sets:
        raise ConfigError(f"{folder} holds no results; judge pairs with `python -m training.evaluate judge` first.")
    return sets
