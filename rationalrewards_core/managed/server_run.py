"""One process of a model server: launched behind its keeper, asked whether it is done loading, ended."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ..errors import BackendError
from ..servers import KEY, PORT, ServerConfig
from .server_log import last_line, open_log

log = logging.getLogger("rationalrewards.managed")

KEEPER: Final = Path(__file__).with_name("keeper.py")
STOP_SECONDS: Final = 12.0
"""How long a stopped server is waited for; its keeper makes an end of it before."""


@dataclass(frozen=True)
class ServerRun:
    """One process of a server, from its start to its end."""

    config: ServerConfig
    """The server as clients reach it: with an address and a key."""
    process: subprocess.Popen[bytes]
    log: Path
    since: float

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def last_words(self) -> str:
        """How it ended, as the end of a sentence."""
        sentence = last_line(self.log).replace(self.config.api_key, "[key]")
        words = f'; its last line was "{sentence}"' if sentence else "; it said nothing"
        return f"(exit code {self.process.returncode}){words}. Its log: {self.log}"


def launched(config: ServerConfig) -> ServerRun:
    """A new process on a free port with a random key. BackendError if its program is not on this machine."""
    program = shutil.which(config.command[0])
    if program is None:
        raise BackendError(
            f"Server {config.name!r} is started by {config.command[0]!r}, which is not on this machine; install it, or "
            "write its whole path into the command.",
            reason="start_failed",
        )
    port, key = _free_port(), secrets.token_urlsafe(24)

    def filled(text: str) -> str:
        return text.replace(PORT, str(port)).replace(KEY, key)

    path, file = open_log(config.name)
    with file:
        process = subprocess.Popen(  # noqa: S603 - the user's own command
            [sys.executable, "-I", str(KEEPER), program, *map(filled, config.command[1:])],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
            env={**os.environ, **{name: filled(value) for name, value in config.environment.items()}},
            start_new_session=True,  # a Ctrl-C in the terminal is for us
        )
    log.info("server %r is starting; its log: %s", config.name, path)
    url = f"http://127.0.0.1:{port}/v1"
    # One that is gone does not come back by itself, so nobody waits for it there.
    reached = replace(config, url=url, api_key=key, command=(), environment={}, wait_seconds=0)
    return ServerRun(reached, process, path, time.monotonic())


async def answers(config: ServerConfig) -> bool:
    """Whether it is done loading: `/health` says so, and where there is none, the list of models."""
    import aiohttp

    root = config.url.removesuffix("/v1")
    headers = {"Authorization": f"Bearer {config.api_key}"}
    timeout = aiohttp.ClientTimeout(total=5)
    with suppress(aiohttp.ClientError, OSError, asyncio.TimeoutError):
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            for path in ("/health", "/v1/models"):
                async with session.get(root + path, allow_redirects=False) as response:
                    if response.status not in (404, 405, 501):
                        return response.status == 200
    return False


def end(run: ServerRun) -> None:
    """End a process and wait until it is gone."""
    assert run.process.stdin is not None
    with suppress(OSError):
        run.process.stdin.close()
    try:
        run.process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        run.process.kill()
        run.process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
