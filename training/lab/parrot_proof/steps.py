"""The steps of the proof, and running them: each in a process of its own, several at once, finished ones never again."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rationalrewards_core.errors import RationalRewardsError

from ... import PACKAGE

try:
    import fcntl
except ImportError:  # Windows: there a step could be run twice at once, if a killed proof is started again too soon
    fcntl = None  # type: ignore[assignment]


class StepFailed(RationalRewardsError):
    """A step did not finish; what it had done is kept."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing to do, once."""

    name: str
    run: Callable[[], object]
    after: tuple[str, ...] = ()
    """Steps that must be finished before."""


def finish(step: Step, out: Path) -> None:
    """Do the step here and note that it is done. If another process is at it, wait for that one instead."""
    with _alone(step.name, out):
        if not is_done(step.name, out):
            step.run()
            _mark(step.name, out).parent.mkdir(parents=True, exist_ok=True)
            _mark(step.name, out).touch()


@contextmanager
def _alone(name: str, out: Path) -> Iterator[None]:
    """A killed proof leaves its steps running; the next one must not run them beside these."""
    (out / "logs").mkdir(parents=True, exist_ok=True)
    with (out / "logs" / f"{name}.lock").open("w") as guard:
        if fcntl is not None:
            fcntl.flock(guard, fcntl.LOCK_EX)
        yield


def is_done(name: str, out: Path) -> bool:
    return _mark(name, out).exists()


def run_steps(steps: Sequence[Step], out: Path, words: Sequence[str], jobs: int) -> None:
    """Run what is not done, `jobs` at once, in their order where nothing stands against it.

    `words` are this command's own; each step is the command with `--only NAME`. StepFailed names the log.
    """
    (out / "logs").mkdir(parents=True, exist_ok=True)
    running: dict[str, subprocess.Popen[bytes]] = {}
    failed: list[str] = []
    try:
        _until_done(steps, out, words, jobs, running, failed)
    finally:
        for process in running.values():
            process.terminate()
    if failed:
        raise StepFailed(f"{', '.join(failed)} did not finish; see {out / 'logs'} and run the same command to go on.")


def _until_done(
    steps: Sequence[Step],
    out: Path,
    words: Sequence[str],
    jobs: int,
    running: dict[str, subprocess.Popen[bytes]],
    failed: list[str],
) -> None:
    """Start and await steps until none is left, or one has failed and the others at work have ended."""
    while True:
        for name, process in list(running.items()):
            if process.poll() is not None:
                del running[name]
                failed += [name] if process.returncode else []
        finished_names = {step.name for step in steps if is_done(step.name, out)}
        waiting = [s for s in steps if s.name not in finished_names and s.name not in running and s.name not in failed]
        ready = [] if failed else [s for s in waiting if finished_names.issuperset(s.after)]
        for step in ready[: max(0, jobs - len(running))]:
            running[step.name] = _start(step.name, out, words)
        if not running:
            return
        time.sleep(0.5)


def _start(name: str, out: Path, words: Sequence[str]) -> subprocess.Popen[bytes]:
    print(f"{time.strftime('%H:%M:%S')} {name}", flush=True)
    log = out / "logs" / f"{name}.log"
    with log.open("ab") as output:
        command = [sys.executable, "-m", f"{PACKAGE}.lab.parrot_proof", *words, "--only", name]
        # On a busy machine it is sessions that Linux gives fair shares to, so each step has its own.
        return subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)  # noqa: S603


def _mark(name: str, out: Path) -> Path:
    return out / "done" / name
