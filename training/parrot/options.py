"""The command line's words."""

from __future__ import annotations

import argparse
from pathlib import Path

from rationalrewards_core.backends.checkpoint import PRECISIONS
from rationalrewards_core.engine_kinds import engine_names

from ..data.importers.labels import Labels
from ..settings import finite
from .chat import FORMATS
from .own_critiques import OwnSettings
from .project import ARMS


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.parrot",
        description="From preference labels to training data for a model that critiques before it scores.",
    )
    parser.add_argument("--verbose", action="store_true", help="say more about what happens")
    commands = parser.add_subparsers(dest="command", required=True)
    _import(commands.add_parser("import", help="read preferences into a run"))
    rationalize = commands.add_parser("rationalize", help="stage 1: the teacher explains every known preference")
    _teacher(rationalize, pairs=True)
    rationalize.add_argument("--orders", choices=("both", "one"), default="both", help="orders of each pair")
    check = commands.add_parser("check", help="stage 2: can the preference be predicted from the rationale?")
    _teacher(check)
    _variant(check)
    check.add_argument("--fewest-evidence-words", type=int, default=4, help="0 for languages other than English")
    check.add_argument("--ask-leaking", action="store_true", help="ask about leaking rationales too, to measure")
    project = commands.add_parser("project", help="stage 3: absolute critiques of both candidates")
    _teacher(project, pairs=True)
    _variant(project)
    project.add_argument("--arm", choices=("parrot", "unfiltered", "direct"), default="parrot")
    _own(commands.add_parser("own", help="instead of stages 1 to 3: the judge's own critiques that agree with you"))
    _export(commands.add_parser("export", help="stage 4: chat examples, split by request"))
    report = commands.add_parser("report", help="what was kept and dropped, and why, as HTML")
    _run(report)
    report.add_argument("--out", type=Path, help="default RUN/report.html")
    report.add_argument("--samples", type=int, default=6, help="samples per reason")
    report.add_argument("--teacher-log", type=Path, help="log of the synthetic teacher: shows how good the filters are")
    return parser


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument(
        "--rubric", type=Path, action="append", default=[],
        help="the student's own rubric: a file (one of each kind at most), its checkpoint folder, or `miniature`",
    )  # fmt: skip


def _teacher(parser: argparse.ArgumentParser, *, pairs: bool = False) -> None:
    _run(parser)
    parser.add_argument("--teacher", required=True, metavar="NAME", help="server named in your config file")
    parser.add_argument("--config", type=Path, help="config file that names servers (default: your own)")
    parser.add_argument("--prompts", type=Path, help="folder with your own prompt texts")
    parser.add_argument("--max-tokens", type=int, default=4096, help="limit of one reply")
    parser.add_argument("--ask-again", type=int, default=1, help="further questions after a reply that cannot be used")
    parser.add_argument("--language", choices=("en", "any"), default="en", help="language the teacher must write")
    parser.add_argument("--shard", default="1/1", metavar="I/N", help="this machine's share of the pairs")
    budget = parser.add_argument_group("budget of this run")
    budget.add_argument("--max-requests", type=int)
    budget.add_argument("--max-spend-tokens", type=int, help="tokens read and written")
    if pairs:
        parser.add_argument("--limit", type=int, help="only the first pairs")


def _own(parser: argparse.ArgumentParser) -> None:
    _run(parser)
    usual = OwnSettings()
    parser.add_argument("--judge", "--engine", required=True, help=engine_names())
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--samples", type=int, default=usual.samples, help="most critiques of each picture")
    parser.add_argument("--temperature", type=float, default=usual.temperature)
    parser.add_argument(
        "--margin", type=float, default=usual.margin, help="reward by which the preferred one must lead"
    )
    parser.add_argument("--tie-margin", type=float, default=usual.tie_margin)


def _variant(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--variant", choices=("text", "images", "paper"), default="text", help="what the consistency check shows"
    )


def _import(parser: argparse.ArgumentParser) -> None:
    _run(parser)
    parser.add_argument("dataset", help="which data set (see docs/parrot.md), or `miniature`")
    parser.add_argument("source", nargs="?", help="file or folder, or hub:OWNER/NAME")
    parser.add_argument("--images", type=Path, action="append", default=[], help="folder or tar with the pictures")
    parser.add_argument("--keep", choices=("copy", "reference"), default="copy", help="copy pictures named by path")
    parser.add_argument(
        "--labels",
        choices=[labels.value for labels in Labels],
        default=Labels.WORDS.value,
        help="how preferences of your own are written: words (A, B, TIE), index (0 is the first image, 1 the second), "
        "number (1 the first, 2 the second, 0 a tie), winner (the better image's name)",
    )
    parser.add_argument("--split", default="", help="only files with this in their name, such as train")
    parser.add_argument("--name", help="name of the pairs file (default: the data set's)")
    parser.add_argument("--limit", type=int, help="stop after so many pairs")
    world = parser.add_argument_group("miniature only")
    world.add_argument("--count", type=int, default=200)
    world.add_argument("--seed", type=int, default=0)
    world.add_argument("--edits", type=finite, default=0.0, help="share of edits")
    world.add_argument("--wrong", type=finite, default=0.05, help="share of votes for the other image")
    world.add_argument("--reserved", action="store_true", help="requests that no model was trained on")


def _export(parser: argparse.ArgumentParser) -> None:
    _run(parser)
    _variant(parser)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arm", choices=ARMS, default="parrot")
    parser.add_argument("--format", choices=FORMATS, default="chat")
    parser.add_argument("--pairwise", action="store_true", help="validated comparisons too")
    held_out = "share of requests held out for {} (default: 0.05, and up to {} where that is less than 100 pairs)"
    parser.add_argument("--dev", type=finite, help=held_out.format("development", "0.2"))
    parser.add_argument("--test", type=finite, help=held_out.format("testing", "0.1"))
    parser.add_argument("--margin", type=finite, default=0.02, help="reward by which the preferred one must lead")
    parser.add_argument("--tie-margin", type=finite, default=0.25, help="reward by which a tie may differ")
