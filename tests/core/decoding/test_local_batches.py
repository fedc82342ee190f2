"""The local engine around the loop: unloading against replies, callers that hang up, one bad job, little memory."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from rationalrewards_core.backends import batch_worker, transformers_local
from rationalrewards_core.backends.base import Reply, Sampling
from rationalrewards_core.backends.batch_worker import BatchWorker
from rationalrewards_core.backends.checkpoint import CheckpointConfig
from rationalrewards_core.backends.decoding.decoder import Decoder
from rationalrewards_core.backends.decoding.image_features import VisionTower
from rationalrewards_core.backends.decoding.rows import Row
from rationalrewards_core.backends.transformers_local import TransformersLocal
from rationalrewards_core.errors import BackendError, Interrupted
from rationalrewards_core.miniature import scorer_folder
from tests.core.decoding.random_checkpoint import asked, picture, random_checkpoint

PATIENCE = 30.0
REQUESTS = [asked(f"Number {n}: ", picture(n)) for n in range(8)]
WORKER = "rationalrewards-local"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[TransformersLocal]:
    """The engine over a random checkpoint, for which loading takes no time."""
    monkeypatch.setattr(transformers_local, "load_checkpoint", lambda config: random_checkpoint(0))
    engine = TransformersLocal(CheckpointConfig(model=str(scorer_folder()), device="cpu", precision="fp32"))
    yield engine
    engine.unload()


def ask(engine: TransformersLocal, *numbers: int, tokens: int = 6) -> list[Reply | BaseException]:
    async def work() -> list[Reply | BaseException]:
        replies = (engine.reply(REQUESTS[n], Sampling(max_tokens=tokens)) for n in numbers)
        return list(await asyncio.gather(*replies, return_exceptions=True))

    return asyncio.run(work())


def in_one_batch(engine: TransformersLocal, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Wait for as many jobs, however slow the machine is."""
    monkeypatch.setattr(batch_worker, "LINGER_SECONDS", PATIENCE)
    engine.batch_size = size


def texts(replies: list[Reply | BaseException]) -> list[str]:
    assert all(isinstance(reply, Reply) for reply in replies), replies
    return [reply.text for reply in replies if isinstance(reply, Reply)]


def together(*works: Callable[[], object]) -> None:
    """Run all in threads of their own; a deadlock is a failure and not a hanging test."""
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    assert not any(thread.is_alive() for thread in threads), "deadlock"


def test_unloading_from_many_threads_against_replies_from_many(
    engine: TransformersLocal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, decoding, most = Decoder.run, [], []

    def counted(self: Decoder, *arguments: Any) -> None:
        decoding.append(1)
        most.append(len(decoding))
        try:
            run(self, *arguments)
        finally:
            decoding.pop()

    monkeypatch.setattr(Decoder, "run", counted)
    end = time.monotonic() + 1.5
    answers: list[Reply | BaseException] = []

    def replies() -> None:
        while time.monotonic() < end:
            answers.extend(ask(engine, 0, 1, 2, tokens=4))

    def unloads() -> None:
        while time.monotonic() < end:
            engine.unload()
            time.sleep(0.03)

    together(*[replies] * 4, *[unloads] * 4)
    assert all(isinstance(answer, (Reply, Interrupted)) for answer in answers), answers
    assert max(most) == 1, "one worker decodes at a time, whoever unloads"
    assert len(texts(ask(engine, 0))) == 1
    engine.unload()
    assert not engine.loaded
    assert WORKER not in {thread.name for thread in threading.enumerate()}


def test_unloading_interrupts_what_is_under_way_and_what_waits(engine: TransformersLocal) -> None:
    passes: list[int] = []

    def unload_once(done: int, most: int) -> None:
        passes.append(done)
        if len(passes) == 3:
            threading.Thread(target=engine.unload, daemon=True).start()
        if len(passes) >= 3:
            time.sleep(0.05)

    engine.batch_size, engine.progress = 2, unload_once
    answers: list[Reply | BaseException] = []
    together(lambda: answers.extend(ask(engine, *range(8), tokens=400)))
    assert [type(answer) for answer in answers] == [Interrupted] * 8
    assert len(passes) < 40, "neither finished what was under way nor began what waited"
    engine.progress = None
    assert len(texts(ask(engine, 0))) == 1


def test_a_late_unload_leaves_the_next_workers_model_alone(
    engine: TransformersLocal, monkeypatch: pytest.MonkeyPatch
) -> None:
    join, late, go_on = BatchWorker.join, threading.Event(), threading.Event()

    def slow(self: BatchWorker[Any]) -> None:
        join(self)
        if threading.current_thread().name == "late":
            late.set()
            go_on.wait(PATIENCE)

    monkeypatch.setattr(BatchWorker, "join", slow)
    ask(engine, 0)
    thread = threading.Thread(target=engine.unload, name="late", daemon=True)
    thread.start()
    assert late.wait(PATIENCE)
    engine.unload()
    ask(engine, 0)
    checkpoint = engine.load()
    go_on.set()
    thread.join(PATIENCE)
    assert engine.loaded
    assert engine.load() is checkpoint


def test_an_interruption_before_the_first_pass_is_not_forgotten(
    engine: TransformersLocal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(config: CheckpointConfig) -> Any:
        engine.interrupt()
        return random_checkpoint(0)

    monkeypatch.setattr(transformers_local, "load_checkpoint", load)
    assert [type(answer) for answer in ask(engine, 0, 1, tokens=300)] == [Interrupted] * 2
    engine.interrupt()
    assert len(texts(ask(engine, 0, 1))) == 2, "an interruption of nothing does not meet the next request"


def test_a_caller_that_hangs_up_is_dropped(engine: TransformersLocal) -> None:
    lengths: list[int] = []
    enough = threading.Event()

    def progress(done: int, most: int) -> None:
        lengths.append(done)
        if len(lengths) == 5:
            enough.set()
        time.sleep(0.005)

    engine.progress = progress

    async def work() -> str:
        gone = asyncio.create_task(engine.reply(REQUESTS[0], Sampling(max_tokens=1500)))
        await asyncio.to_thread(enough.wait, PATIENCE)
        gone.cancel()
        return (await engine.reply(REQUESTS[1], Sampling(max_tokens=6))).text

    text = asyncio.run(work())
    assert max(lengths) < 300, "nobody waits for the 1500 tokens"
    engine.progress = None
    assert [text] == texts(ask(engine, 1))


def test_a_caller_that_hangs_up_in_the_queue_is_never_decoded(engine: TransformersLocal) -> None:
    engine.batch_size = 1
    longest: list[int] = []
    engine.progress = lambda done, most: longest.append(most)

    async def work() -> None:
        first = asyncio.create_task(engine.reply(REQUESTS[0], Sampling(max_tokens=20)))
        gone = asyncio.create_task(engine.reply(REQUESTS[1], Sampling(max_tokens=40)))
        await asyncio.sleep(0)
        gone.cancel()
        await first
        await engine.reply(REQUESTS[2], Sampling(max_tokens=10))

    asyncio.run(work())
    assert set(longest) == {20, 10}


@pytest.mark.parametrize("where", ["its picture", "its tokens"])
def test_one_bad_job_fails_alone(engine: TransformersLocal, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    in_one_batch(engine, monkeypatch, 8)
    whole = texts(ask(engine, *range(8)))
    bad = REQUESTS[3][0].images[0]
    read, made = VisionTower.picture, Decoder.row

    def reading(self: VisionTower, image: Any) -> Any:
        if image is bad:
            raise ValueError("absolute ratio must be smaller than 200")
        return read(self, image)

    def taking(*arguments: Any) -> int:
        raise IndexError("out of range")

    def making(self: Decoder, messages: Any, sampling: Any) -> Row:
        row = made(self, messages, sampling)
        if messages is REQUESTS[3]:
            row.take = taking  # type: ignore[method-assign]
        return row

    if where == "its picture":
        monkeypatch.setattr(VisionTower, "picture", reading)
    else:
        monkeypatch.setattr(Decoder, "row", making)
    answers = ask(engine, *range(8))
    failure = answers.pop(3)
    assert isinstance(failure, BackendError)
    assert failure.reason == "engine_failed"
    assert texts(answers) == [text for number, text in enumerate(whole) if number != 3]


def test_a_batch_too_large_for_memory_is_halved_and_its_memory_is_free_by_then(
    engine: TransformersLocal, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_one_batch(engine, monkeypatch, 4)
    whole = texts(ask(engine, *range(4)))
    run_pass, prefill = Decoder._pass, Decoder._prefill
    caches: list[weakref.ref[Any]] = []
    batches: list[int] = []

    def tight(self: Decoder, live: Any, cache: Any) -> Any:
        if len(live) > 2:
            caches.append(weakref.ref(cache))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run_pass(self, live, cache)

    def watched(self: Decoder, rows: Any) -> Any:
        batches.append(len(rows))
        result = prefill(self, rows)
        assert not any(cache() is not None for cache in caches), "the cache that did not fit is still there"
        return result

    monkeypatch.setattr(Decoder, "_pass", tight)
    monkeypatch.setattr(Decoder, "_prefill", watched)
    assert texts(ask(engine, *range(4))) == whole
    assert batches == [4, 2, 2]


def test_memory_that_does_not_suffice_for_one_is_said(
    engine: TransformersLocal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(self: Decoder, rows: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Decoder, "_prefill", none)
    answers = ask(engine, 0, 1, 2)
    assert all(isinstance(answer, BackendError) and answer.reason == "out_of_memory" for answer in answers), answers
    monkeypatch.undo()
    monkeypatch.setattr(transformers_local, "load_checkpoint", lambda config: random_checkpoint(0))
    assert len(texts(ask(engine, 0))) == 1
