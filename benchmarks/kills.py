"""Long jobs killed with SIGKILL at random moments and started again by the same command: do they end as if nothing had been?

    python -m benchmarks.kills --kills 10
    python -m benchmarks.kills --kills 10 --job nft --job score

Each job runs once undisturbed. Then it is started in a new folder, killed at a random moment after its first file is
there, started again by the same command, and so on until it ends; the folders are compared file by file. If a job ends
before it was killed often enough, it begins anew in another folder. What may differ is named in `kill_files`.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.kill_files import Settled, differences, json_lines, settled
from benchmarks.kill_jobs import JOBS, LongJob
from benchmarks.timing import table

log = logging.getLogger("rationalrewards.benchmarks.kills")
PATIENCE = 900.0
"""Seconds after which a run that does not end is given up."""
SOONER = 0.7
"""How much sooner a command is killed next time that ended before its moment came."""


@dataclass(frozen=True)
class KillTest:
    """What came of killing one job."""

    job: str
    kills: int
    runs: int
    """Runs that were killed and then ended, each compared with the undisturbed one."""
    differences: tuple[str, ...]

    @property
    def identical(self) -> bool:
        return not self.differences


def kill_test(job: LongJob, folder: Path, kills: int, draw: random.Random) -> KillTest:
    """Run `job` below `folder` undisturbed, then killed `kills` times in all. RuntimeError if a run fails by itself."""
    inputs, run = folder / "inputs", folder / "run"
    inputs.mkdir(parents=True)
    job.prepare(inputs)
    with job.beside(inputs):
        commands = job.commands(inputs, run)
        times = [_undisturbed(job, words, inputs, run) for words in commands]
        expected = _taken_away(job, run)
        killed, runs, problems = 0, 0, []
        while killed < kills:
            each = -(-(kills - killed) // len(commands))
            for place, words in enumerate(commands):
                first, last = times[place]
                count = _killed(job, words, inputs, min(each, kills - killed), partial(draw.uniform, first, last))
                killed += count
                if not count:  # the machine is less busy than it was when the times were taken
                    times[place] = (first * SOONER, last * SOONER)
            runs += 1
            lines = differences(expected, _taken_away(job, run))
            problems += [f"run {runs}: {line}" for line in lines]
            log.info("%s: run %d, %d kills so far, %s", job.name, runs, killed, "different" if lines else "identical")
    return KillTest(job.name, killed, runs, tuple(problems))


def _undisturbed(job: LongJob, words: Sequence[str], inputs: Path, run: Path) -> tuple[float, float]:
    """Seconds until the first file was written, and until the end."""
    started, before = time.monotonic(), _files(run)
    process = _started(words, inputs)
    first = None
    while process.poll() is None:
        if first is None and _files(run) != before:
            first = time.monotonic() - started
        _give_up_late(process, job, started)
        time.sleep(0.02)
    _check_ended(process, job, inputs)
    whole = time.monotonic() - started
    return (whole / 2 if first is None else first), whole


def _files(folder: Path) -> set[tuple[Path, int]]:
    """Its files and when they were written."""
    names = set()
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a file that had another name a moment ago
            names.add((path, path.stat().st_mtime_ns))
    return names


def _killed(job: LongJob, words: Sequence[str], inputs: Path, most: int, moment: Callable[[], float]) -> int:
    """Start a command until it has ended, killing it up to `most` times; how often it was."""
    killed = 0
    while True:
        process = _started(words, inputs)
        if killed < most:
            try:
                process.wait(moment())
            except subprocess.TimeoutExpired:
                process.kill()
        else:
            process.wait(PATIENCE)
        if process.wait() != -signal.SIGKILL:
            _check_ended(process, job, inputs)
            return killed
        killed += 1


def _started(words: Sequence[str], inputs: Path) -> subprocess.Popen[bytes]:
    """One of the job's own commands, in the same folder every time, so that no path differs."""
    log_file = inputs / "said.txt"
    with log_file.open("ab") as errors, (inputs / "output.txt").open("wb") as output:
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", *words], stdout=output, stderr=errors, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )


def _taken_away(job: LongJob, run: Path) -> Settled:
    """What a run left, which is then removed."""
    left = settled(run, job.unordered, job.apart)
    if job.shows:
        left["output"] = json_lines((run.parent / "inputs" / "output.txt").read_bytes())
    shutil.rmtree(run)
    return left


def _check_ended(process: subprocess.Popen[bytes], job: LongJob, inputs: Path) -> None:
    if process.returncode:
        last = (inputs / "said.txt").read_text(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(f"{job.name} ended with {process.returncode}: {''.join(last)}")


def _give_up_late(process: subprocess.Popen[bytes], job: LongJob, started: float) -> None:
    if time.monotonic() - started > PATIENCE:
        process.kill()
        raise RuntimeError(f"{job.name} did not end within {PATIENCE:g} s")


def kill_table(tests: Sequence[KillTest]) -> str:
    rows = [[test.job, test.kills, test.runs, "yes" if test.identical else "NO"] for test in tests]
    return table(["job", "kills", "runs", "identical"], rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10, help="of each job (default: %(default)s)")
    parser.add_argument("--job", action="append", choices=list(JOBS), help="only this one; may be given again")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    tests = []
    for name in arguments.job or JOBS:
        with tempfile.TemporaryDirectory() as folder:
            test = kill_test(JOBS[name], Path(folder), arguments.kills, random.Random(f"{arguments.seed} {name}"))
        tests.append(test)
        print("\n".join([f"{name}: {test.kills} kills, {'identical' if test.identical else 'NOT identical'}",
                         *test.differences]), flush=True)  # fmt: skip
    print(f"\n{kill_table(tests)}")
    return 0 if all(test.identical for test in tests) else 1


if __name__ == "__main__":
    sys.exit(main())
