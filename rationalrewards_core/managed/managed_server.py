"""A model server of the user's own config file that this program starts, waits for, and stops.

It listens on the loopback alone, on a free port and with a random key. It is started when somebody asks it, and stopped
when nobody has for a while, when its memory is wanted, and with this process, however that ends (see `keeper`).
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ..errors import BackendError, ConfigError
from ..file_lock import FileLock
from ..servers import ServerConfig
from .server_log import file_stem, log_folder
from .server_run import ServerRun, answers, end, launched

log = logging.getLogger("rationalrewards.managed")

MOST_CRASHES: Final = 3
"""Crashes of a server within `CRASH_MEMORY` seconds after which it is not started again until they have passed."""
CRASH_MEMORY: Final = 600.0
REFUSED_SECONDS: Final = 20.0
"""A server that did not start is not tried again for so long: the other pictures of a batch need not wait for it."""
LOOK_SECONDS: Final = 0.1


class ManagedServer:
    """One server of this process. Every method may be called from any thread."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self._lock = threading.Lock()
        """Held for moments; `_change` is held while a process is started or ended, so that there is never a second one."""
        self._change = threading.RLock()
        self._run: ServerRun | None = None
        self._ready: ServerRun | None = None
        self._users = 0
        self._last_use = 0.0
        self._crashes: deque[float] = deque(maxlen=MOST_CRASHES)
        self._refusal: tuple[float, BackendError] | None = None
        self._stopped: ServerRun | None = None
        self._name_lock: FileLock | None = None

    @property
    def alive(self) -> bool:
        run = self._run
        return run is not None and run.alive

    @property
    def process_id(self) -> int | None:
        """Of the keeper, while it runs."""
        run = self._run
        return run.process.pid if run is not None and run.alive else None

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While anyone uses it, it is not stopped for idleness."""
        with self._lock:
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                self._last_use = time.monotonic()

    def start(self) -> ServerRun:
        """The process under way, or a new one, which may not answer yet. BackendError if it cannot be started."""
        with self._change:
            if self._run is not None and self._run.alive:
                return self._run
            if self._run is not None and self._run is not self._stopped:
                self._note_crash(self._run)
            self._refuse()
            self._say_if_doubled()
            self._run = launched(self.config)
            self._last_use = time.monotonic()
            threading.Thread(
                target=self._watch, args=(self._run,), name=f"rationalrewards-{self.config.name}", daemon=True
            ).start()
            return self._run

    async def ready(self) -> ServerRun:
        """Start it if need be, and wait until it answers. BackendError with its last words if it does not."""
        run = await asyncio.to_thread(self.start)
        while self._ready is not run:
            if not run.alive:
                if run is self._stopped:
                    raise self._unloaded()
                raise self._failed(run, f"Server {self.config.name!r} did not start {run.last_words()}")
            if await answers(run.config):
                self._ready = run
                log.info("server %r answers after %.0f s", self.config.name, time.monotonic() - run.since)
            elif time.monotonic() - run.since > self.config.start_seconds:
                late = f"Server {self.config.name!r} did not answer within {self.config.start_seconds:g} s; raise start_seconds"
                await asyncio.to_thread(self.stop)
                raise self._failed(run, f"{late} in the config file, or read its log: {run.log}")
            else:
                await asyncio.sleep(LOOK_SECONDS)
        return run

    async def ended(self, run: ServerRun) -> BackendError:
        """Wait until a process is gone; says why, as the error of whoever was asking it."""
        while run.alive:
            await asyncio.sleep(LOOK_SECONDS)
        if run is self._stopped:
            return self._unloaded()
        return BackendError(f"Server {self.config.name!r} ended while it judged {run.last_words()}", reason="crashed")

    def stop(self, *, unless_used: bool = False) -> None:
        """End the process and wait for it, so that its memory is free; it may be started again."""
        with self._change:
            run = self._run
            if run is None or (unless_used and self._users):
                return
            if run.alive:
                self._stopped = run
            end(run)
            self._run = self._ready = None
            if self._name_lock is not None:
                self._name_lock.close()
                self._name_lock = None

    def leave(self) -> None:
        """In a forked child: let go of the pipe, which would keep the server when the parent is gone."""
        run, self._run = self._run, None
        if run is not None and run.process.stdin is not None:
            run.process.stdin.close()
            run.process.returncode = 0  # it is no child of this one
        if self._name_lock is not None:
            self._name_lock = None

    def _unloaded(self) -> BackendError:
        return BackendError(
            f"Server {self.config.name!r} was stopped while it was asked; ask again.", reason="unloaded"
        )

    def _watch(self, run: ServerRun) -> None:
        while run.alive:
            time.sleep(min(1.0, self.config.idle_seconds / 4))
            with self._lock:
                idle = not self._users and time.monotonic() - self._last_use > self.config.idle_seconds
            if idle and self._run is run:
                log.info(
                    "server %r is stopped: nobody has asked it for %.0f s", self.config.name, self.config.idle_seconds
                )
                self.stop(unless_used=True)

    def _say_if_doubled(self) -> None:
        if self._name_lock is not None:
            return
        try:
            path = log_folder() / f"{file_stem(self.config.name)}.lock"
            self._name_lock = FileLock(path, wait=False, busy="")
        except ConfigError:
            log.warning(
                "server %r is running for another program already; this one starts its own, and both take their memory",
                self.config.name,
            )
        except OSError:
            log.debug("no lock for server %r", self.config.name)

    def _note_crash(self, run: ServerRun) -> None:
        self._crashes.append(time.monotonic())
        log.warning("server %r ended %s", self.config.name, run.last_words())
        self._run = None

    def _refuse(self) -> None:
        now = time.monotonic()
        if self._refusal is not None and now < self._refusal[0]:
            raise self._refusal[1]
        if len(self._crashes) == MOST_CRASHES and now - self._crashes[0] < CRASH_MEMORY:
            raise BackendError(
                f"Server {self.config.name!r} has crashed {MOST_CRASHES} times and is not started again for now; read its "
                f"logs in {log_folder()}.",
                reason="crashed",
            )

    def _failed(self, run: ServerRun, message: str) -> BackendError:
        error = BackendError(message, reason="start_failed")
        with self._lock:
            self._refusal = (time.monotonic() + REFUSED_SECONDS, error)
            if self._run is run:
                self._run = None
        return error


_servers: dict[str, ManagedServer] = {}
_servers_lock = threading.Lock()


def managed_server(config: ServerConfig) -> ManagedServer:
    """The server of a config, one for all callers of this process."""
    with _servers_lock:
        return _servers.setdefault(f"{config!r}{sorted(config.environment.items())}", ManagedServer(config))


@atexit.register
def stop_all() -> None:
    """Stop every server that this process has started."""
    with _servers_lock:
        servers = list(_servers.values())
    for server in servers:
        server.stop()


def _leave_all() -> None:
    for server in _servers.values():
        server.leave()
    _servers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all)
