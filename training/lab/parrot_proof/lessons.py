"""From preference labels to training data: the pipeline's own commands, against the synthetic teacher in its own process."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rationalrewards_core.errors import BackendError
from rationalrewards_core.miniature import scorer_folder

from ... import PACKAGE
from ...parrot.__main__ import main as parrot

ARMS: Final = {"filtered": "parrot", "unfiltered": "unfiltered", "direct": "direct"}
"""Name in the proof -> arm of the pipeline."""
START_SECONDS: Final = 120.0


@dataclass(frozen=True, kw_only=True)
class LessonConfig:
    """The preferences that are collected, and how much is held out of them."""

    pairs: int = 3400
    edits: float = 0.0
    wrong: float = 0.05
    """Share of votes for the other image."""
    dev: float = 0.08
    seed: int = 0


def make_lessons(config: LessonConfig, out: Path) -> Path:
    """Every stage and every arm; finished records are not asked for again. Returns the folder of the exports."""
    run, mark = out / "parrot", out / "lessons.done"
    if mark.exists():
        return out / "exports"
    words = ["--count", config.pairs, "--edits", config.edits, "--wrong", config.wrong, "--seed", config.seed]
    if not (run / "pairs" / "miniature.jsonl").exists():
        _command("import", "miniature", "--run", run, *words)
    with teacher(out) as settings:
        command = ["--run", run, "--teacher", "teacher", "--config", settings, *rubric_words()]
        _command("rationalize", *command, "--orders", "one")
        _command("check", *command, "--variant", "text", "--ask-leaking")
        for variant in ("paper", "images"):
            _command("check", *command, "--variant", variant)
        for arm in ARMS.values():
            _command("project", *command, "--arm", arm)
    for name, arm in ARMS.items():
        words = ["--arm", arm, "--dev", config.dev, "--test", 0.0, *rubric_words()]
        _command("export", "--run", run, "--out", out / "exports" / name, *words)
    log = ["--teacher-log", out / "teacher.jsonl", "--out", out / "pipeline.html"]
    _command("report", "--run", run, *rubric_words(), *log)
    mark.touch()
    return out / "exports"


def rubric_words() -> list[str]:
    """The rubrics that the student is asked in, as words of a command."""
    files = (scorer_folder() / f"rubric_{kind}.toml" for kind in ("generation", "edit"))
    return [word for file in files for word in ("--rubric", str(file))]


@contextmanager
def teacher(out: Path) -> Iterator[Path]:
    """The teacher with its usual faults, up for the length of a `with`; gives the config file that names it."""
    port = _free_port()
    settings = out / "teacher.toml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(f'[servers.teacher]\nurl = "http://127.0.0.1:{port}/v1"\nmodel = "miniature-teacher"\n')
    words = ["--port", str(port), "--log", str(out / "teacher.jsonl"), *rubric_words()]
    with (out / "teacher.log").open("a") as output:
        process = subprocess.Popen(  # noqa: S603 - this interpreter and this package
            [sys.executable, "-m", f"{PACKAGE}.lab.teacher", *words], stdout=output, stderr=output
        )
        try:
            _wait_for(port, process)
            yield settings
        finally:
            process.terminate()
            process.wait(30)


def _command(*words: object) -> None:
    """One command of the pipeline; BackendError if it does not finish."""
    if code := parrot([str(word) for word in words]):
        raise BackendError(f"`training.parrot {words[0]}` ended with code {code}; run the proof again to go on.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise BackendError("The teacher's server did not start; its output is in teacher.log.")
