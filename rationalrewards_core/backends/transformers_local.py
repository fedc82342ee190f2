"""A Qwen-VL-class checkpoint in this process, by transformers: the engine of the 8B weights and of the miniature.

Requests that arrive together are answered together: a worker thread collects them into batches, so
a caller only ever asks for one reply and concurrency does the rest.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import BackendError, ConfigError, Interrupted, RationalRewardsError, RequestError
from ..messages import Message
from .base import Finish, Reply, Sampling
from .checkpoint import Checkpoint, CheckpointConfig, free_memory, load_checkpoint
from .decoding import Alternatives, GrammarCompiler, GrammarMask, StepWatch, grammar_available
from .qwen_chat import model_inputs

log = logging.getLogger("rationalrewards.backends.local")

LINGER_SECONDS = 0.004
"""How long a batch waits for company after its first request."""

Progress = Callable[[int, int], None]
"""Called from the worker thread after every decoding step with (tokens so far, most tokens possible)."""


@dataclass
class _Job:
    messages: Sequence[Message]
    sampling: Sampling
    started: float
    future: Future[Reply] = field(default_factory=Future)


class TransformersLocal:
    """Loads on first use; `unload` frees the memory and leaves the backend usable."""

    def __init__(self, config: CheckpointConfig, *, batch_size: int = 8, progress: Progress | None = None) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, not {batch_size}.")
        self.config, self.batch_size, self.progress = config, batch_size, progress
        self._jobs: queue.Queue[_Job | None] = queue.Queue()
        self._worker: threading.Thread | None = None
        self._starting = threading.Lock()
        self._loading = threading.RLock()
        self._checkpoint: Checkpoint | None = None
        self._grammars: GrammarCompiler | None = None
        self._interrupt = threading.Event()
        self._warned = False

    @property
    def identity(self) -> str:
        c = self.config.resolved()
        adapter = f"{c.adapter}@{_stamp(c.adapter, 'adapter_config.json')}" if c.adapter else ""
        return f"transformers:{c.model}@{_stamp(c.model, 'config.json')}:{c.precision}:{adapter}:{c.max_pixels or ''}"

    @property
    def concurrency(self) -> int:
        return 2 * self.batch_size

    @property
    def loaded(self) -> bool:
        return self._checkpoint is not None

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        job = _Job(messages, sampling, time.perf_counter())
        self._ensure_worker()
        self._jobs.put(job)
        return await asyncio.wrap_future(job.future)

    def load(self) -> Checkpoint:
        """Load now instead of on first use. Safe to call from any thread."""
        with self._loading:
            if self._checkpoint is None:
                started = time.perf_counter()
                self._checkpoint = load_checkpoint(self.config)
                log.info("loaded %s in %.1f s", self.config.model, time.perf_counter() - started)
            return self._checkpoint

    def interrupt(self) -> None:
        """End the batch being decoded within one token; its callers get `Interrupted`."""
        self._interrupt.set()

    def unload(self) -> None:
        """Drop the model and give its memory back. Requests under way are interrupted."""
        self.interrupt()
        worker, self._worker = self._worker, None
        if worker is not None:
            self._jobs.put(None)
            if worker is not threading.current_thread():
                worker.join()
        with self._loading:
            if self._checkpoint is not None:
                self._checkpoint = self._grammars = None
                free_memory()
        self._interrupt.clear()

    async def close(self) -> None:
        await asyncio.to_thread(self.unload)

    def _ensure_worker(self) -> None:
        with self._starting:
            if self._worker is None or not self._worker.is_alive():
                self._worker = threading.Thread(target=self._work, name="rationalrewards-local", daemon=True)
                self._worker.start()

    def _work(self) -> None:
        kept: _Job | None = None
        while True:
            first = kept if kept is not None else self._jobs.get()
            if first is None:
                return
            batch, kept, ended = self._collect(first)
            self._answer(batch)
            if ended:
                return

    def _collect(self, first: _Job) -> tuple[list[_Job], _Job | None, bool]:
        """Jobs that can be decoded with `first`, a job that cannot (it opens the next batch), whether to end."""
        batch = [first]
        alone = first.sampling.temperature > 0 and first.sampling.seed is not None
        deadline = time.perf_counter() + LINGER_SECONDS
        while len(batch) < self.batch_size and not alone:
            try:
                job = self._jobs.get(timeout=max(0.0, deadline - time.perf_counter()))
            except queue.Empty:
                break
            if job is None:
                return batch, None, True
            if job.sampling != first.sampling:
                return batch, job, False
            batch.append(job)
        return batch, None, False

    def _answer(self, jobs: list[_Job]) -> None:
        """Resolve every job with a reply or an error; a batch that does not fit into memory is halved."""
        jobs = [job for job in jobs if job.future.set_running_or_notify_cancel() or False]
        self._resolve(jobs)

    def _resolve(self, jobs: list[_Job]) -> None:
        if not jobs:
            return
        try:
            replies = self._decode(jobs)
        except RationalRewardsError as error:
            if len(jobs) > 1 and isinstance(error, RequestError):
                for job in jobs:
                    self._resolve([job])
                return
            for job in jobs:
                job.future.set_exception(error)
        except Exception as error:  # noqa: BLE001 - whatever torch raises belongs to these callers
            if not _is_out_of_memory(error):
                failure = BackendError(
                    f"The local engine failed: {type(error).__name__}: {error}", reason="engine_failed"
                )
                failure.__cause__ = error
                for job in jobs:
                    job.future.set_exception(failure)
                return
            free_memory()
            if len(jobs) == 1:
                message = "Out of memory on a single image; lower max_pixels or choose nf4."
                jobs[0].future.set_exception(BackendError(message, reason="out_of_memory"))
                return
            log.warning("out of memory with a batch of %d; trying halves", len(jobs))
            self._resolve(jobs[: len(jobs) // 2])
            self._resolve(jobs[len(jobs) // 2 :])
        else:
            for job, reply in zip(jobs, replies, strict=True):
                job.future.set_result(reply)

    def _decode(self, jobs: list[_Job]) -> list[Reply]:
        import torch

        checkpoint = self.load()
        sampling = jobs[0].sampling
        inputs = model_inputs(checkpoint, [job.messages for job in jobs])
        prompt_length = inputs["input_ids"].shape[1]
        room = checkpoint.context - prompt_length
        if room < 16:
            raise RequestError(
                f"The prompt has {prompt_length} tokens and {self.config.model} takes {checkpoint.context}; "
                "shorten the request or lower max_pixels."
            )
        most = min(sampling.max_tokens, room)
        alternatives = Alternatives(sampling.alternatives) if sampling.alternatives else None
        processors = [p for p in (self._mask(checkpoint, sampling, len(jobs)), alternatives) if p is not None]
        self._interrupt.clear()

        def cancelled(row: int) -> bool:
            return self._interrupt.is_set()

        def report(done: int) -> None:
            if self.progress is not None:
                self.progress(done, most)

        watch = StepWatch(checkpoint.tokeniser, prompt_length, sampling.stop, cancelled, report)
        with torch.inference_mode(), _seeded(sampling):
            output = checkpoint.model.generate(
                **inputs,
                max_new_tokens=most,
                logits_processor=processors,
                stopping_criteria=[watch],
                **_drawing(sampling),
            )
        if self._interrupt.is_set():
            self._interrupt.clear()
            raise Interrupted("The critique was interrupted.")
        now = time.perf_counter()
        return [
            self._reply(checkpoint, job, row, output[row, prompt_length:].tolist(), inputs, alternatives, now)
            for row, job in enumerate(jobs)
        ]

    def _mask(self, checkpoint: Checkpoint, sampling: Sampling, rows: int) -> GrammarMask | None:
        if sampling.grammar is None:
            return None
        if not grammar_available():
            if not self._warned:
                log.warning("xgrammar is not installed; decoding is not guided by the rubric's grammar.")
                self._warned = True
            return None
        if self._grammars is None:
            self._grammars = GrammarCompiler(checkpoint.tokeniser, checkpoint.vocabulary, checkpoint.stop_ids)
        return GrammarMask(self._grammars.compile(sampling.grammar), rows, checkpoint.vocabulary)

    def _reply(
        self,
        checkpoint: Checkpoint,
        job: _Job,
        row: int,
        ids: list[int],
        inputs: dict[str, Any],
        alternatives: Alternatives | None,
        now: float,
    ) -> Reply:
        ends = [position for position, token in enumerate(ids) if token in checkpoint.stop_ids]
        ids = ids[: ends[0]] if ends else ids
        pad = checkpoint.tokeniser.pad_token_id
        while not ends and ids and ids[-1] == pad:
            ids.pop()
        text = checkpoint.tokeniser.decode(ids, skip_special_tokens=True)
        cuts = [text.index(stop) for stop in job.sampling.stop if stop in text]
        finish = Finish.STOP if ends or cuts else Finish.LENGTH
        chosen: Any = ()
        if alternatives is not None:
            chosen = alternatives.of_row(row, ids, lambda token: str(checkpoint.tokeniser.decode([token])))
        return Reply(
            text=text[: min(cuts)] if cuts else text,
            finish=finish,
            model=self.config.model,
            prompt_tokens=int(inputs["attention_mask"][row].sum()),
            completion_tokens=len(ids),
            seconds=now - job.started,
            tokens=chosen,
        )


def _stamp(folder: str, name: str) -> int:
    """When a checkpoint or adapter was written: one trained again in its place is another judge."""
    file = Path(folder).expanduser() / name
    return file.stat().st_mtime_ns if file.is_file() else 0


def _drawing(sampling: Sampling) -> dict[str, Any]:
    if sampling.temperature == 0.0:
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    return {"do_sample": True, "temperature": sampling.temperature, "top_p": 1.0, "top_k": 0}


class _seeded:
    """Fixes torch's generators for one call and puts them back afterwards."""

    def __init__(self, sampling: Sampling) -> None:
        self._seed = sampling.seed if sampling.temperature > 0 else None

    def __enter__(self) -> None:
        if self._seed is not None:
            import torch

            self._fork = torch.random.fork_rng()
            self._fork.__enter__()
            torch.manual_seed(self._seed)

    def __exit__(self, *error: Any) -> None:
        if self._seed is not None:
            self._fork.__exit__(*error)


def _is_out_of_memory(error: BaseException) -> bool:
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
