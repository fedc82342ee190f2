"""A thread that takes what arrives together and hands it on in batches."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

LINGER_SECONDS: Final = 0.004
"""How long a batch waits for company after its first job."""

Job = TypeVar("Job")


class BatchWorker(Generic[Job]):
    """Runs `answer(jobs)` until it is ended; its successor starts only when it has `left`."""

    def __init__(
        self,
        answer: Callable[[Sequence[Job]], None],
        batch_size: int,
        name: str,
        after: BatchWorker[Job] | None = None,
    ) -> None:
        self._answer, self._batch_size, self._after = answer, batch_size, after
        self._jobs: deque[Job] = deque()
        self._under_way: list[Job] = []
        self._change = threading.Condition()
        self.ended = False
        self.left = threading.Event()
        """Set by whoever ended it, once everything that it held is given back."""
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def put(self, job: Job) -> None:
        with self._change:
            self._jobs.append(job)
            self._change.notify()

    @property
    def under_way(self) -> Sequence[Job]:
        """The jobs that are being answered."""
        with self._change:
            return tuple(self._under_way)

    def end(self) -> list[Job]:
        """Take no further batch; returns the jobs that wait. A batch under way goes on."""
        with self._change:
            self.ended = True
            waiting = list(self._jobs)
            self._jobs.clear()
            self._change.notify()
        return waiting

    def join(self) -> None:
        """Wait for the batch under way, unless this is the worker's own thread."""
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _work(self) -> None:
        if self._after is not None:
            self._after.left.wait()
            self._after = None
        while batch := self._batch():
            self._answer(batch)

    def _batch(self) -> list[Job]:
        """The next jobs, at least one; none once it is ended."""
        with self._change:
            self._under_way = []
            self._change.wait_for(lambda: self._jobs or self.ended)
            deadline = time.perf_counter() + LINGER_SECONDS
            while len(self._jobs) < self._batch_size and not self.ended:
                if not self._change.wait(max(0.0, deadline - time.perf_counter())):
                    break
            self._under_way = [self._jobs.popleft() for _ in range(min(self._batch_size, len(self._jobs)))]
            return self._under_way
