"""For the tests: the synthetic teacher behind real HTTP, and the pipeline's commands against it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.training.app_thread import serving as serving_application
from training.lab.teacher.answers import Mind
from training.lab.teacher.faults import NO_FAULTS, FaultShares
from training.lab.teacher.server import TeacherServer, TeacherServing
from training.parrot.__main__ import main
from training.parrot.prompts import load_texts
from training.parrot.run import load_rubrics


@dataclass
class Teaching:
    """A teacher that is up, and how to reach it."""

    port: int
    folder: Path
    server: TeacherServer | None = None

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    @property
    def log(self) -> Path:
        return self.folder / "teacher.jsonl"

    def name_server(self, concurrency: int = 4, retries: int = 3) -> None:
        lines = [
            "[servers.teacher]",
            f'url = "http://127.0.0.1:{self.port}/v1"',
            f"concurrency = {concurrency}",
            f"retries = {retries}",
        ]
        self.config.write_text("\n".join(lines))

    def stage(self, command: str, run: Path, *more: str) -> int:
        """Run a teacher stage in this process; returns the exit code."""
        return main(self.arguments(command, run, *more))

    def arguments(self, command: str, run: Path, *more: str) -> list[str]:
        return [command, "--run", str(run), "--teacher", "teacher", "--config", str(self.config), *more]


@contextmanager
def teaching(
    folder: Path, shares: FaultShares = NO_FAULTS, *, serving: TeacherServing | None = None, concurrency: int = 4
) -> Iterator[Teaching]:
    """The teacher on a thread of its own and a free port, for the length of a `with`."""
    folder.mkdir(parents=True, exist_ok=True)
    serving = serving or TeacherServing()
    mind = Mind(load_rubrics(), shares, serving.seed)
    server = TeacherServer(mind, load_texts(), shares, serving, folder / "teacher.jsonl")
    with serving_application(server.application()) as url:
        one = Teaching(int(url.rpartition(":")[2]), folder, server)
        one.name_server(concurrency)
        yield one


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def import_miniature(run: Path, count: int, *more: str) -> None:
    assert main(["import", "miniature", "--run", str(run), "--count", str(count), *more]) == 0
