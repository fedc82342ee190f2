"""`rationalrewards` and `python -m rationalrewards_core`: the command line."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

from .cli.parser import build_parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (see `rationalrewards --help`)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a character shows its code instead
            stream.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if argv is None else argv)
    if (
        words and words[0] == "train"
    ):  # its words are read by the training package, which is not imported for their sake
        _quieten()
        return _run("train", words[1:])
    parser = build_parser()
    arguments = parser.parse_args(words)
    if arguments.version:
        from . import __version__

        print(f"rationalrewards {__version__}")
        return 0
    if arguments.command is None:
        parser.print_help()
        return 2
    logging.basicConfig(
        level=logging.INFO if arguments.verbose else logging.WARNING, format="%(levelname)s %(message)s"
    )
    if not arguments.verbose:
        _quieten()
    return _run(arguments.command, arguments)


def _quieten() -> None:
    """Read by the libraries when they are first imported; their notices are about themselves, not about the work."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def _run(command: str, arguments: object) -> int:
    from .errors import ConfigError, Interrupted, RationalRewardsError, RequestError

    try:
        status: int = _command(command)(arguments)
        sys.stdout.flush()
        return status
    except (ConfigError, RequestError) as error:
        print(f"rationalrewards: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, Interrupted):
        print("rationalrewards: interrupted; what was finished has been kept.", file=sys.stderr)
        return 130
    except RationalRewardsError as error:
        print(f"rationalrewards: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read our output has seen enough (`| head`); nothing is left to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"rationalrewards: {where}{error.strerror or error}", file=sys.stderr)
        return 1


def _command(name: str) -> Callable[..., int]:
    """The function behind a command; its module is imported only when it is used."""
    if name in ("critique", "score", "compare"):
        from .cli import judge_commands

        return _named(judge_commands, name)
    if name in ("demo", "refine"):
        from .cli import loop_commands

        return _named(loop_commands, name)
    if name == "doctor":
        from .cli import doctor

        return _named(doctor, name)
    if name == "train":
        from .cli.training import train

        return train
    if name == "servers":
        from .cli import servers

        return _named(servers, name)
    from .cli import serve_command

    return _named(serve_command, name)


def _named(module: ModuleType, name: str) -> Callable[..., int]:
    command: Callable[..., int] = getattr(module, f"{name.replace(' ', '_')}_command")
    return command


if __name__ == "__main__":
    sys.exit(main())
