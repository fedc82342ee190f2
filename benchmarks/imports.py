"""What starting costs: importing the core, everything public in it, and the command line's --help."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.timing import interleaved, table

PROGRAMS = {
    "python alone": ["-c", "pass"],
    "import rationalrewards_core": ["-c", "import rationalrewards_core"],
    "from rationalrewards_core import *": ["-c", "from rationalrewards_core import *"],
    "rationalrewards --help": ["-m", "rationalrewards_core", "--help"],
}


def run(rounds: int = 11) -> str:
    def start(arguments: list[str]) -> None:
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)  # noqa: S603

    timed = interleaved({name: lambda a=a: start(a) for name, a in PROGRAMS.items()}, rounds)
    base = timed[0].median
    return table(
        ["program", "ms (median)", "best", "ms over python alone"],
        [[t.name, 1000 * t.median, 1000 * min(t.seconds), 1000 * (t.median - base)] for t in timed],
    )


if __name__ == "__main__":
    print(run())
