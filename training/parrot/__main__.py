"""`python -m training.parrot`: the command line of the pipeline."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence

from rationalrewards_core.errors import ConfigError, RationalRewardsError

from . import commands
from .options import build_parser

COMMANDS: dict[str, Callable[..., int]] = {
    "import": commands.import_pairs,
    "rationalize": commands.rationalize,
    "check": commands.check,
    "project": commands.project,
    "own": commands.own,
    "export": commands.export,
    "report": commands.report,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0 done, 1 failed, 2 wrong use, 3 something is left to do)."""
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(
        level=logging.INFO if arguments.verbose else logging.WARNING, format="%(levelname)s %(message)s"
    )
    try:
        return COMMANDS[arguments.command](arguments)
    except ConfigError as error:
        print(f"parrot: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("parrot: interrupted; every finished record has been kept.", file=sys.stderr)
        return 130
    except RationalRewardsError as error:
        print(f"parrot: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
