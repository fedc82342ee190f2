"""`python -m training.lab.teacher`: start the synthetic teacher."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from aiohttp import web

from rationalrewards_core.errors import ConfigError
from rationalrewards_core.miniature.world import COLOURS

from ...parrot.prompts import load_texts
from ...parrot.run import load_rubrics
from .answers import Mind
from .faults import NO_FAULTS, FaultShares
from .server import TeacherServer, TeacherServing


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.lab.teacher", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8350)
    parser.add_argument("--log", type=Path, help="JSON lines with the fault of every reply")
    parser.add_argument(
        "--rubric", type=Path, action="append", default=[], help="rubric file; one of each kind at most"
    )
    parser.add_argument("--slots", type=int, default=8, help="questions worked on at once")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that a question takes on average")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--taste", choices=COLOURS, default="", help="a colour that the people behind the labels like")
    parser.add_argument("--sound", action="store_true", help="no fault unless a share is given")
    shares = parser.add_argument_group("shares of faults, 0 to 1")
    for one in fields(FaultShares):
        shares.add_argument(f"--{one.name}", type=float, metavar="SHARE", help=f"default {one.default}")
    arguments = parser.parse_args(argv)
    try:
        server = _server(arguments)
    except ConfigError as error:
        print(f"teacher: {error}", file=sys.stderr)
        return 2
    web.run_app(server.application(), host=arguments.host, port=arguments.port, access_log=None, print=_ready)
    return 0


def _server(arguments: argparse.Namespace) -> TeacherServer:
    base = NO_FAULTS if arguments.sound else FaultShares()
    fault_shares = {one.name: getattr(arguments, one.name) for one in fields(FaultShares)}
    shares = FaultShares(
        **{name: getattr(base, name) if value is None else value for name, value in fault_shares.items()}
    )
    serving = TeacherServing(slots=arguments.slots, latency=arguments.latency, seed=arguments.seed)
    mind = Mind(load_rubrics(arguments.rubric), shares, arguments.seed, arguments.taste)
    return TeacherServer(mind, load_texts(), shares, serving, arguments.log)


def _ready(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
