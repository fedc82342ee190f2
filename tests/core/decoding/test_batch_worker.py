"""The thread that batches: company, order, its end, its successor."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from rationalrewards_core.backends.batch_worker import BatchWorker

PATIENCE = 10.0


class Answers:
    """What a worker was given; holds it until released."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun = threading.Semaphore(0)
        self.release = threading.Semaphore(0)

    def __call__(self, jobs: Sequence[int]) -> None:
        self.batches.append(list(jobs))
        self.begun.release()
        assert self.release.acquire(timeout=PATIENCE)


@pytest.fixture
def answers() -> Iterator[Answers]:
    answers = Answers()
    yield answers
    answers.release.release(100)


def test_what_arrives_during_a_batch_makes_the_next_one(answers: Answers) -> None:
    worker = BatchWorker(answers, 3, "test")
    worker.put(0)
    assert answers.begun.acquire(timeout=PATIENCE)
    for job in range(1, 6):
        worker.put(job)
    assert list(worker.under_way) == [0]
    answers.release.release(3)
    assert answers.begun.acquire(timeout=PATIENCE)
    assert answers.begun.acquire(timeout=PATIENCE)
    assert answers.batches == [[0], [1, 2, 3], [4, 5]]
    assert worker.end() == []
    worker.join()


def test_the_end_gives_back_what_waits_and_lets_the_batch_finish(answers: Answers) -> None:
    worker = BatchWorker(answers, 1, "test")
    for job in range(4):
        worker.put(job)
    assert answers.begun.acquire(timeout=PATIENCE)
    assert worker.end() == [1, 2, 3]
    assert worker.end() == [], "a second end finds nothing"
    assert worker.ended
    assert list(worker.under_way) == [0]
    answers.release.release()
    worker.join()
    assert answers.batches == [[0]]
    assert list(worker.under_way) == [], "an ended worker keeps no job alive"


def test_an_idle_worker_ends_at_once(answers: Answers) -> None:
    worker = BatchWorker(answers, 1, "test")
    worker.end()
    worker.join()
    assert answers.batches == []


def test_a_successor_waits_until_everything_is_given_back(answers: Answers) -> None:
    first = BatchWorker(answers, 1, "first")
    first.put(0)
    assert answers.begun.acquire(timeout=PATIENCE)
    first.end()
    second = BatchWorker(answers, 1, "second", after=first)
    second.put(1)
    answers.release.release()
    first.join()
    assert not answers.begun.acquire(timeout=0.05), "the first has finished, but its memory is still taken"
    first.left.set()
    assert answers.begun.acquire(timeout=PATIENCE)
    second.end()
    answers.release.release()
    second.join()
    assert answers.batches == [[0], [1]]


def test_a_worker_does_not_wait_for_itself() -> None:
    joined = threading.Event()
    worker: BatchWorker[int] | None = None
    ready = threading.Event()

    def answer(jobs: Sequence[int]) -> None:
        assert ready.wait(PATIENCE)
        assert worker is not None
        worker.end()
        worker.join()
        joined.set()

    worker = BatchWorker(answer, 1, "test")
    worker.put(0)
    ready.set()
    assert joined.wait(PATIENCE)
