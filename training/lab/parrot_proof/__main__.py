"""The proof on the miniature world: does a judge that learned to give reasons beat its rivals on the same preferences?

    python -m training.lab.parrot_proof --out runs/parrot-proof             # about an hour on two idle cores
    python -m training.lab.parrot_proof --out runs/parrot-smoke --smoke     # a minute; shows that everything runs
    python -m training.lab.parrot_proof --out runs/parrot-long --steps 6000 --head-steps 3000 --measurements 48 --patience 8

A base that can see and write but not judge learns from preference labels and a teacher with stated faults: (a) filtered
against unfiltered and direct distillation; (b) against a scalar Bradley-Terry head on the same pairs at three sizes;
(c) what the filters keep and find. Everything is measured on held-out pairs with true labels. Killed at any point, the
same command goes on.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from rationalrewards_core.errors import ConfigError, RationalRewardsError

from ...run import RunDir
from ...settings import finite
from .options import ParrotProofOptions, smoke
from .plan import plan
from .report import write_report
from .steps import Step, finish, run_steps


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.lab.parrot_proof",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("runs/parrot-proof"))
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: shows that it runs, proves nothing")
    parser.add_argument("--jobs", type=int, default=2, help="steps at once, one thread each")
    parser.add_argument("--steps", type=int, help="optimiser steps of every student, at most")
    parser.add_argument("--head-steps", type=int, help="the same of every head")
    parser.add_argument(
        "--measurements", type=int, help="times that each is measured on development pairs over its steps"
    )
    parser.add_argument(
        "--patience", type=int, help="stop each after so many of these without a better one (default: never)"
    )
    parser.add_argument("--sizes", type=int, nargs="+", help="preference pairs that students and heads learn from")
    parser.add_argument("--test-pairs", type=int, help="held-out pairs")
    parser.add_argument("--edits", type=finite, help="share of edits among the pairs (default 0)")
    parser.add_argument("--seed", type=int, help="of the students and heads; use another --out, too")
    parser.add_argument("--only", metavar="STEP", help="run this one step, here")
    return parser


def options_of(arguments: argparse.Namespace) -> ParrotProofOptions:
    options = smoke() if arguments.smoke else ParrotProofOptions()
    names = ("steps", "head_steps", "measurements", "patience", "test_pairs", "seed")
    options = replace(options, **{name: v for name in names if (v := getattr(arguments, name)) is not None})
    if arguments.sizes:
        options = replace(options, sizes=tuple(sorted(arguments.sizes)))
    if arguments.edits is not None:
        options = replace(options, lessons=replace(options.lessons, edits=arguments.edits))
    return options


def named_step(steps: list[Step], name: str) -> Step:
    for step in steps:
        if step.name == name:
            return step
    raise ConfigError(f"There is no step {name!r}; there are {', '.join(step.name for step in steps)}.")


def main(words: list[str] | None = None) -> int:
    words = sys.argv[1:] if words is None else words
    arguments = build_parser().parse_args(words)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    options, out = options_of(arguments), arguments.out
    try:
        steps = plan(options, out)
        if arguments.only:
            finish(named_step(steps, arguments.only), out)
            return 0
        with closing(RunDir(out, options, saved_files=("*/*",))):
            run_steps(steps, out, words, arguments.jobs)
        print(json.dumps({k: v for k, v in write_report(options, out).items() if k != "pipeline"}, indent=2))
    except RationalRewardsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
