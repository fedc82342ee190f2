"""A judge's opinions on disk: one JSONL per judge with its settings beside it, so that judging can go on where it stopped."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rationalrewards_core.errors import ConfigError
from training.evaluate.opinions import Opinion, opinion_from_json


@dataclass
class Judged:
    """One judge on one set of pairs."""

    judge: str
    """Name of the judge as tables show it: model, mode, precision."""
    opinions: list[Opinion]
    about: dict[str, Any] = field(default_factory=dict)
    """Settings and cost."""


class JudgedFile:
    """Appends opinions as they come. Settings of another run under the same name are refused."""

    def __init__(self, folder: Path, judge: str, settings: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        stem = re.sub(r"[^\w.-]+", "_", judge).strip("_")
        self._lines, self._about = folder / f"{stem}.jsonl", folder / f"{stem}.json"
        self.judge = judge
        table = {"judge": judge, "settings": settings}
        known = json.loads(self._about.read_text(encoding="utf-8")) if self._about.exists() else None
        if known is not None and {k: known[k] for k in table} != table:
            raise ConfigError(f"{self._about} holds results of {judge} under other settings; choose another --out.")
        self._table = known or table
        self._write()

    def known(self) -> dict[str, Opinion]:
        """Opinions that are here already, by pair; a line torn by a killed process is dropped."""
        found: dict[str, Opinion] = {}
        whole = 0
        if self._lines.exists():
            content = self._lines.read_bytes()
            for line in content.splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    break
                opinion = opinion_from_json(json.loads(line))
                found[opinion.key] = opinion
                whole += len(line)
            if whole < len(content):
                self._lines.write_bytes(content[:whole])
        return found

    def add(self, opinion: Opinion) -> None:
        with self._lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps(opinion.to_json()) + "\n")

    def note(self, **about: Any) -> None:
        """Keep what a run of the judge cost."""
        self._table = {**self._table, **about}
        self._write()

    def _write(self) -> None:
        self._about.write_text(json.dumps(self._table, indent=2) + "\n", encoding="utf-8")


def read_judged(folder: Path) -> list[Judged]:
    """Every judge's result in a folder, by name."""
    found = []
    for about in sorted(folder.glob("*.json")):
        table = json.loads(about.read_text(encoding="utf-8"))
        lines = about.with_suffix(".jsonl")
        if "judge" in table and lines.is_file():
            rows = [opinion_from_json(json.loads(line)) for line in lines.read_text(encoding="utf-8").splitlines()]
            found.append(Judged(table["judge"], rows, table))
    if not found:
        raise ConfigError(f"{folder} holds no results; judge pairs with `python -m training.evaluate judge` first.")
    return found
