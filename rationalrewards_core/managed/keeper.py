"""Runs a command for as long as standard input is open, then ends it and everything that it started.

    python keeper.py PROGRAM ARGUMENT ...

The one who starts this holds the other end of the pipe. However that process ends, the system closes the pipe: a model
server never outlives the program that wanted it. Imports nothing of this project, so that it can be run by its path.

On Linux the command is also told to end when this keeper is killed. On Windows the command's tree is ended by taskkill.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

GRACE_SECONDS = 8.0
"""How long a command may take to end when it is asked to."""
NO_PROGRAM = 127
PR_SET_PDEATHSIG = 1


def main(command: list[str]) -> int:
    """The command's exit code, or 128 and the signal's number."""
    for kind in (signal.SIGTERM, signal.SIGINT):
        signal.signal(kind, _leave)
    try:
        # Safe before any thread is there; the command gets a group of its own, so that all of it can be ended.
        process = subprocess.Popen(  # noqa: S603 - it comes from the user's own config file
            command,
            stdin=subprocess.DEVNULL,
            start_new_session=os.name != "nt",
            preexec_fn=_when_keeper_dies(os.getpid()),
        )
    except OSError as error:
        print(f"{command[0]}: {error.strerror or error}", file=sys.stderr, flush=True)  # noqa: T201
        return NO_PROGRAM
    threading.Thread(target=_end_when_left, args=(process,), daemon=True).start()
    try:
        code = process.wait()
    finally:
        end(process)
    return code if code >= 0 else 128 - code


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask the command and what it started to end; after a while, make them."""
    if os.name == "nt":  # pragma: no cover
        if process.poll() is None:
            subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], check=False, capture_output=True)  # noqa: S603, S607
        return
    if not _signal(process.pid, signal.SIGTERM):
        return
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_SECONDS)
    _signal(process.pid, signal.SIGKILL)


def _signal(group: int, kind: signal.Signals) -> bool:
    """Whether anything of the group was there."""
    try:
        os.killpg(group, kind)
    except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of dead ones
        return False
    return True


def _end_when_left(process: subprocess.Popen[bytes]) -> None:
    try:
        while os.read(0, 1024):  # not sys.stdin, whose lock would be in the way when this process ends
            pass
    finally:
        end(process)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _when_keeper_dies(keeper: int) -> Callable[[], None] | None:
    """What the command runs before it begins, so that Linux ends it with the keeper of that process id; None elsewhere."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)

    def ask_for_signal() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != keeper:  # it was killed in between
            os._exit(NO_PROGRAM)

    return ask_for_signal


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
