"""The job runner that every stage shares: resumable per record, bounded in concurrency, and in what it may spend."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from rationalrewards_core.errors import BackendError, ConfigError

from .budget import BudgetSpent
from .journal import Journal
from .records import Record

log = logging.getLogger("rationalrewards.parrot.job")

HOPELESS: Final = frozenset({"unauthorized", "model_not_found", "redirected", "no_sight"})
"""Failures that no later question can escape."""


class Task(Protocol):
    """One question to ask; tasks are made as they are needed."""

    @property
    def key(self) -> str: ...


TaskT = TypeVar("TaskT", bound=Task)


@dataclass(frozen=True)
class Shard:
    """One of several machines' shares of a job: `2/8` is the second of eight."""

    index: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise ConfigError(f"A shard is I/N with 1 <= I <= N, such as 2/8, not {self.index}/{self.count}.")

    @classmethod
    def parse(cls, text: str) -> Shard:
        index, slash, count = text.partition("/")
        if not (slash and index.isdecimal() and count.isdecimal()):
            raise ConfigError(f"A shard is I/N with 1 <= I <= N, such as 2/8, not {text!r}.")
        return cls(int(index), int(count))

    def holds(self, key: str) -> bool:
        """Whether a pair belongs to this shard; `key` is its hexadecimal key."""
        return int(key[:8], 16) % self.count == self.index - 1

    @property
    def suffix(self) -> str:
        """What tells this shard's file from the others'."""
        return "" if self.count == 1 else f".{self.index}of{self.count}"


@dataclass
class Tally:
    """What a run did; shown at its end and written to the run's log."""

    earlier: int = 0
    """Tasks that were already done."""
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    """Questions without an answer, by reason: they stay open and are asked by the next run."""
    stopped: str = ""
    """Why the run ended early; empty if it went through."""

    @property
    def finished(self) -> bool:
        return not self.stopped and not self.failed


class _Run:
    """Counts of one run, and when to give up."""

    def __init__(self, patience: int) -> None:
        self.tally = Tally()
        self.order: list[str] = []
        self._patience, self._in_a_row = patience, 0

    def fresh(self, tasks: Iterable[TaskT], record_keys: frozenset[str]) -> Iterator[TaskT]:
        for task in tasks:
            self.order.append(task.key)
            if task.key in record_keys:
                self.tally.earlier += 1
            else:
                yield task

    def count(self, record: Record) -> None:
        self._in_a_row = 0
        if record.kept:
            self.tally.kept += 1
        else:
            self.tally.dropped[record.reason] += 1

    def fail(self, error: BackendError) -> None:
        self.tally.failed[error.reason] += 1
        self._in_a_row += 1
        log.warning("%s", error)
        if error.reason in HOPELESS or self._in_a_row >= self._patience:
            self.tally.stopped = str(error)


async def run_job(
    tasks: Iterable[TaskT],
    work: Callable[[TaskT], Awaitable[Record]],
    journal: Journal,
    *,
    record_keys: frozenset[str],
    workers: int,
    on_record: Callable[[Record], None] = lambda _: None,
) -> Tally:
    """Work off every task whose key is not in `record_keys`, `workers` at a time, each record on the disk before it counts.

    Stops early when the budget is spent, on a hopeless failure, or after ten failures in a row per worker's share
    (a server that is gone); what is open then is done by the next run. Seals the journal if all is done.
    """
    run = _Run(patience=max(10, 2 * workers))
    waiting = run.fresh(tasks, record_keys)

    async def worker() -> None:
        for task in waiting:
            if run.tally.stopped:
                return
            try:
                record = await work(task)
            except BudgetSpent as spent:
                run.tally.stopped = str(spent)
                return
            except BackendError as error:
                run.fail(error)
                continue
            await journal.append(record.to_json())
            run.count(record)
            on_record(record)

    crew = [asyncio.ensure_future(worker()) for _ in range(workers)]
    try:
        await asyncio.gather(*crew)
    finally:
        for one in crew:
            one.cancel()
        await asyncio.gather(*crew, return_exceptions=True)
    if run.tally.finished:
        await asyncio.to_thread(journal.seal, run.order)
    return run.tally
