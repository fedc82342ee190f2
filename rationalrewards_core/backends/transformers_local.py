"""A Qwen-VL-class checkpoint in this process, on transformers' model code: the engine of the 8B weights and of the miniature.

Requests that arrive together are answered together: a worker thread collects them into batches, so
a caller only ever asks for one reply and concurrency does the rest.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BackendError, ConfigError, Interrupted, RationalRewardsError
from ..messages import Message
from .base import Finish, Reply, Sampling
from .batch_worker import BatchWorker
from .checkpoint import Checkpoint, CheckpointConfig, free_memory, load_checkpoint, model_fingerprint
from .fingerprint import folder_fingerprint

if TYPE_CHECKING:
    from .decoding.decoder import Decoder
    from .decoding.rows import Row
    from .decoding.through_generate import GenerateDecoder

log = logging.getLogger("rationalrewards.backends.local")

Progress = Callable[[int, int], None]
"""Called from the worker thread after every pass with (tokens of the longest reply so far, most tokens possible)."""


@dataclass
class _Job:
    messages: Sequence[Message]
    sampling: Sampling
    started: float
    future: Future[Reply] = field(default_factory=Future)
    abandoned: bool = False
    """The caller is gone: the reply need not be finished."""
    interrupted: bool = False
    """The batch that it is part of is to end."""


class TransformersLocal:
    """Loads on first use; `unload` frees the memory and leaves the backend usable."""

    def __init__(
        self,
        config: CheckpointConfig,
        *,
        batch_size: int = 8,
        progress: Progress | None = None,
        record: bool = True,
    ) -> None:
        """`record` lets passes be replayed as CUDA graphs where the device can."""
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, not {batch_size}.")
        self.config, self.batch_size, self.progress, self.record = config, batch_size, progress, record
        self._worker: BatchWorker[_Job] | None = None
        self._starting = threading.Lock()
        self._loading = threading.RLock()
        self._checkpoint: Checkpoint | None = None
        self._decoder: Decoder | GenerateDecoder | None = None
        self._identity = ""

    @property
    def identity(self) -> str:
        """The files' content, not their folder's name; while the model is loaded, what it was loaded from."""
        return self._identity or self._identity_now()

    @property
    def concurrency(self) -> int:
        return 2 * self.batch_size

    @property
    def loaded(self) -> bool:
        return self._checkpoint is not None

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        job = _Job(messages, sampling, time.perf_counter())
        with self._starting:
            if self._worker is None or self._worker.ended:
                self._worker = BatchWorker(self._answer, self.batch_size, "rationalrewards-local", after=self._worker)
            self._worker.put(job)
        try:
            return await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            job.abandoned = True
            raise

    def load(self) -> Checkpoint:
        """Load now instead of on first use. Safe to call from any thread."""
        with self._loading:
            if self._checkpoint is None:
                started = time.perf_counter()
                identity = self._identity_now()
                checkpoint = load_checkpoint(self.config)
                checkpoint.model.requires_grad_(False)
                self._checkpoint, self._identity = checkpoint, identity
                log.info("loaded %s in %.1f s", self.config.model, time.perf_counter() - started)
            return self._checkpoint

    def _identity_now(self) -> str:
        config = self.config.resolved()
        adapter = folder_fingerprint(Path(config.adapter).expanduser()) if config.adapter else ""
        return f"transformers:{config.model}@{model_fingerprint(config)}:{config.precision}:{adapter}:{config.max_pixels or ''}"

    def interrupt(self) -> None:
        """End the batch being decoded within one pass; its callers get `Interrupted`."""
        if self._worker is not None:
            _interrupt(self._worker)

    def unload(self) -> None:
        """Drop the model and give its memory back. Requests under way and waiting are interrupted."""
        with self._starting:
            worker = self._worker
            waiting = worker.end() if worker is not None else []
        for job in waiting:
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(Interrupted("The judge was unloaded before it came to this critique."))
        if worker is not None:
            _interrupt(worker)
            worker.join()
        with self._loading:
            with self._starting:
                # If another thread's unload came first, a later worker may be decoding with a model of its own.
                idle = self._worker is worker or (worker is not None and not worker.left.is_set())
                loaded = idle and self._checkpoint is not None
                if idle:
                    self._checkpoint = self._decoder = None
                    self._identity = ""
            if loaded:
                free_memory()
        if worker is not None:
            worker.left.set()

    async def close(self) -> None:
        await asyncio.to_thread(self.unload)

    def _answer(self, jobs: Sequence[_Job]) -> None:
        """Resolve every job with a reply or an error."""
        self._resolve([job for job in jobs if job.future.set_running_or_notify_cancel()])

    def _resolve(self, jobs: list[_Job]) -> None:
        """Answer a batch, in smaller ones if it fails."""
        if not jobs:
            return
        size = self._try_batch(jobs)
        # Only here is the error gone, and with it what its frames held of the device's memory.
        if size:
            free_memory()
            for start in range(0, len(jobs), size):
                self._resolve(jobs[start : start + size])

    def _try_batch(self, jobs: list[_Job]) -> int:
        """Answer a batch at once; if that fails, how many to try: half if memory did not suffice, else each alone."""
        try:
            replies = self._decode(jobs)
        except Interrupted as error:
            _fail(jobs, error)
        except Exception as error:  # noqa: BLE001 - whatever torch raises belongs to these callers
            memory = _is_out_of_memory(error)
            if len(jobs) > 1:
                log.info("a batch of %d failed (%s); trying smaller ones", len(jobs), type(error).__name__)
                return len(jobs) // 2 if memory else 1
            _fail(jobs, _as_failure(error, memory))
        else:
            for job, reply in zip(jobs, replies, strict=True):
                job.future.set_result(reply)
        return 0

    def _decode(self, jobs: list[_Job]) -> list[Reply]:
        decoder = self._decoder_of(self.load())
        rows = [decoder.row(job.messages, job.sampling) for job in jobs]

        def after_pass() -> None:
            if self.progress is not None:
                self.progress(max(len(row.ids) for row in rows), max(len(row.ids) + row.room for row in rows))
            # Whoever watches the progress may have interrupted just now: no further pass is made.
            if any(job.interrupted for job in jobs):
                raise Interrupted("The critique was interrupted.")
            for job, row in zip(jobs, rows, strict=True):
                row.cancelled = job.abandoned

        decoder.run(rows, after_pass)
        now = time.perf_counter()
        return [self._reply(row, now - job.started) for job, row in zip(jobs, rows, strict=True)]

    def _decoder_of(self, checkpoint: Checkpoint) -> Decoder | GenerateDecoder:
        """The loop of our own for the family it knows, `generate()` for others."""
        from .decoding.decoder import Decoder
        from .decoding.through_generate import GenerateDecoder

        if self._decoder is None:
            self._decoder = (
                Decoder(checkpoint, record=self.record) if Decoder.fits(checkpoint) else GenerateDecoder(checkpoint)
            )
        return self._decoder

    def _reply(self, row: Row, seconds: float) -> Reply:
        return Reply(
            text=row.text(),
            finish=row.finish or Finish.OTHER,
            model=self.config.model,
            prompt_tokens=row.prompt_tokens,
            completion_tokens=len(row.ids),
            seconds=seconds,
            tokens=row.tokens(),
        )


def _interrupt(worker: BatchWorker[_Job]) -> None:
    for job in worker.under_way:
        job.interrupted = True


def _fail(jobs: Sequence[_Job], error: RationalRewardsError) -> None:
    for job in jobs:
        job.future.set_exception(error)


def _as_failure(error: Exception, out_of_memory: bool) -> RationalRewardsError:
    """What the caller of a single request is told."""
    if out_of_memory:
        return BackendError(
            "Out of memory on a single image; judge at fewer pixels or choose nf4.", reason="out_of_memory"
        )
    if isinstance(error, RationalRewardsError):
        return error
    failure = BackendError(f"The local engine failed: {type(error).__name__}: {error}", reason="engine_failed")
    failure.__cause__ = error
    return failure


def _is_out_of_memory(error: BaseException) -> bool:
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
