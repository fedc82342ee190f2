"""`python -m training.lab.checklist`: teach the miniature checklists, and measure what that finds."""

from __future__ import annotations

import argparse
import json
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
    lesson.add_argument("--threads", type=int, default=2)
    figures = commands.add_parser("measure", help="how many true flaws each way of judging names, as JSON")
    figures.add_argument("--checklist", type=Path, help="a judge taught by `train checklist`")
    figures.add_argument("--fixed", type=Path, help="a judge taught by `train fixed`")
    figures.add_argument("--pictures", type=int, default=300)
    figures.add_argument("--pairs", type=int, default=150)
    return parser


def main(words: list[str] | None = None) -> int:
    arguments = build_parser().parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if arguments.command == "train":
        import torch

        from .student import ChecklistLesson, teach

        torch.set_num_threads(arguments.threads)
        teach(ChecklistLesson(lesson=arguments.lesson, steps=arguments.steps), arguments.run, arguments.out)
        return 0
    from .measure import measure

    print(json.dumps(measure(arguments.checklist, arguments.fixed, arguments.pictures, arguments.pairs), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
