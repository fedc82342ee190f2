"""`python -m training.lab.checklist`: teach the miniature to judge by checklists."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path


def build_parser() -> argparse.ArgumentParser:
    from . import __doc__ as about

    parser = argparse.ArgumentParser(
        prog="python -m training.lab.checklist", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    lesson = commands.add_parser("train", help="fine-tune the shipped judge; goes on where it stopped")
    lesson.add_argument("lesson", choices=("checklist", "fixed"))
    lesson.add_argument("--run", type=Path, required=True)
    lesson.add_argument("--out", type=Path, required=True, help="folder of the finished judge")
    lesson.add_argument("--steps", type=int, default=200)
    lesson.add_argument(
        "--stop", type=int, help="write the judge after this many of the steps, to compare lessons halfway"
    )
    lesson.add_argument("--seed", type=int, default=11, help="of the pictures and their order")
    lesson.add_argument("--threads", type=int, default=2)
    return parser


def main(words: list[str] | None = None) -> int:
    arguments = build_parser().parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    import torch

    from .student import ChecklistLesson, teach

    torch.set_num_threads(arguments.threads)
    teach(
        ChecklistLesson(lesson=arguments.lesson, seed=arguments.seed, steps=arguments.steps),
        arguments.run,
        arguments.out,
        arguments.stop,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
