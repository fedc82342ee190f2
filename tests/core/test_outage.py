"""A server that is gone is waited for by all callers together; nothing is lost, and nobody waits for one that never was."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rationalrewards_core.backends.base import Reply, Sampling
from rationalrewards_core.backends.openai_chat import OpenAIChat
from rationalrewards_core.critique import Critique, Unscored
from rationalrewards_core.errors import BackendError
from rationalrewards_core.judged import Case, Outcome
from rationalrewards_core.memo import Memo
from rationalrewards_core.messages import Message, UserRequest
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings
from rationalrewards_core.servers import ServerConfig
from tests.core.fault_server import Ask, FaultServer, completion, fault, raw, reset, serving
from tests.core.judge_process import score_of

ROOT = Path(__file__).resolve().parents[2]
QUESTION = (Message("user", ("What is this?",)),)
DOT = Image.new("RGB", (4, 4))


class JudgeProcess:
    """`judge_process` on one port, killed and started again at will."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.core.judge_process", str(self.port)]
        self.process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})

    def until_up(self) -> None:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.1)
        raise AssertionError("it did not start")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)

    def config(self, **options: Any) -> ServerConfig:
        given = {"concurrency": 8, "retries": 1, "check_sight": False, "probe": False, **options}
        return ServerConfig(name="judge", url=f"http://127.0.0.1:{self.port}/v1", **given)


@pytest.fixture
def judge() -> Iterator[JudgeProcess]:
    process = JudgeProcess()
    try:
        process.until_up()
        yield process
    finally:
        process.kill()


def scored(config: ServerConfig, count: int, on_outcome: Any = None, memo: Memo | None = None) -> tuple[Outcome, ...]:
    async def work() -> tuple[Outcome, ...]:
        scorer = Scorer(OpenAIChat(config), settings=ScorerSettings(ask_again=0), memo=memo)
        try:
            cases = [Case(UserRequest(f"case {number}!"), DOT) for number in range(count)]
            return (await scorer.score_many(cases, on_outcome=on_outcome)).outcomes
        finally:
            await scorer.close()

    return asyncio.run(work())


def test_a_server_killed_in_the_middle_of_a_batch_costs_no_case(judge: JudgeProcess) -> None:
    """Away for longer than the one retry of each caller; 200 cases, in order, whatever was under way."""
    finished = []
    killed = threading.Event()

    def on_outcome(index: int, outcome: Outcome) -> None:
        finished.append(index)
        if len(finished) == 60:
            judge.kill()
            killed.set()
            threading.Timer(4.0, judge.start).start()

    outcomes = scored(judge.config(), 200, on_outcome)
    assert killed.is_set()
    assert len(outcomes) == 200
    for number, outcome in enumerate(outcomes):
        assert isinstance(outcome, Critique), (number, outcome)
        assert outcome.scores["text_faithfulness"] == score_of(number)


def test_a_server_that_stays_away_fails_all_at_once(judge: JudgeProcess, caplog: pytest.LogCaptureFixture) -> None:
    """After the limit nobody waits again: the rest of the batch costs one look each."""

    def on_outcome(index: int, outcome: Outcome) -> None:
        if index == 0:
            judge.kill()

    started = time.monotonic()
    outcomes = scored(judge.config(concurrency=1, wait_seconds=2.0, retries=8), 30, on_outcome)
    assert isinstance(outcomes[0], Critique)
    assert [o.reason for o in outcomes[1:] if isinstance(o, Unscored)] == ["connection"] * 29
    assert caplog.text.count("waiting up to 2 s") == 1
    assert caplog.text.count("waited for no longer") == 1
    assert time.monotonic() - started < 60, "eight retries of 29 cases would take ten minutes"


def test_an_interrupt_ends_the_waiting(judge: JudgeProcess) -> None:
    async def work() -> None:
        others = asyncio.all_tasks()
        backend = OpenAIChat(judge.config(wait_seconds=600.0))
        with contextlib.suppress(BackendError):
            await backend.introduce()
        judge.kill()
        callers = [asyncio.ensure_future(backend.reply(QUESTION, Sampling())) for _ in range(5)]
        await asyncio.sleep(2.0)
        assert not any(caller.done() for caller in callers), "they wait"
        for caller in callers:
            caller.cancel()
        ended = await asyncio.gather(*callers, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended)
        await backend.close()
        assert asyncio.all_tasks() == others, "nobody goes on looking"

    asyncio.run(asyncio.wait_for(work(), 60))


class Pauses(list[float]):
    """Takes note of the waits, and ends the outage after some of them."""

    def __init__(self, server: FaultServer, enough: int) -> None:
        super().__init__()
        self._server, self._enough = server, enough

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)
        await asyncio.sleep(0)
        if len(self) == self._enough:
            self._server.script = lambda ask: completion("fine")
            self._server.pages = {}


async def asked_by(config: ServerConfig, callers: int, sleep: Any) -> list[Reply]:
    backend = OpenAIChat(config, sleep=sleep)
    try:
        return await asyncio.gather(*(backend.reply(QUESTION, Sampling()) for _ in range(callers)))
    finally:
        await backend.close()


def test_one_looks_and_the_others_wait_for_that_one() -> None:
    """A server that is loading says 503 for a minute and a half; no caller spends a retry on it."""
    with serving(lambda ask: fault(503, "Loading model")) as server:
        server.pages = {"/health": fault(503, "Loading model")}
        pauses = Pauses(server, 20)
        replies = asyncio.run(asked_by(server.config(retries=0, concurrency=50, timeout_seconds=30), 50, pauses))
        assert [reply.text for reply in replies] == ["fine"] * 50
        assert len(server.asks) == 100, "each asks twice: when it is gone and when it is back"
        assert len(pauses) == 20
        assert 60 < sum(pauses) < 120


def test_a_server_that_is_busy_is_not_gone() -> None:
    """Its health is fine: a 503 is retried as before, as often as the config says."""
    with serving(lambda ask: fault(503)) as server:
        server.pages = {"/health": raw("")}
        with pytest.raises(BackendError) as caught:
            asyncio.run(asked_by(server.config(retries=2), 1, Pauses(server, 99)))
        assert (caught.value.reason, len(server.asks)) == ("server_error", 3)


def test_waiting_can_be_switched_off() -> None:
    with serving(lambda ask: fault(503)) as server:
        server.pages = {"/health": fault(503)}
        with pytest.raises(BackendError):
            asyncio.run(asked_by(server.config(retries=1, wait_seconds=0), 1, Pauses(server, 99)))
        assert len(server.asks) == 2


def test_a_question_that_ends_the_server_each_time_fails_in_the_end() -> None:
    """It comes back every time, and breaks the connection every time."""
    with serving(lambda ask: reset()) as server:

        async def work() -> None:
            backend = OpenAIChat(server.config(retries=2), sleep=Pauses(server, 10**6))
            with pytest.raises(BackendError):
                await backend.reply(QUESTION, Sampling())
            await backend.close()

        asyncio.run(work())
        assert len(server.asks) == 3


def listing(**entry: Any) -> Any:
    return raw(json.dumps({"data": [{"id": "judge-8b", **entry}]}))


def test_another_model_that_comes_back_does_not_finish_the_run(reply_text: Any) -> None:
    """Scores of two judges are never mixed in one batch; a new run is judged by the new one, and not from the memo."""
    memo = Memo()
    with serving(lambda ask: completion(reply_text(2.0))) as server:
        server.models = listing(meta={"n_params": 10})
        gone = fault(503)

        def script(ask: Ask) -> Any:
            if len(server.asks) == 3 and not server.pages:
                server.pages = {"/health": gone}
                threading.Timer(0.3, come_back).start()
            return gone if server.pages else completion(reply_text(2.0))

        def come_back() -> None:
            server.models = listing(meta={"n_params": 20})
            server.pages = {}
            server.script = lambda ask: completion(reply_text(3.0))

        server.script = script
        outcomes = scored(server.config(concurrency=1), 6, memo=memo)
        kinds = [o.reason if isinstance(o, Unscored) else "scored" for o in outcomes]
        assert kinds == ["scored"] * 2 + ["model_changed"] * 4
        again = scored(server.config(concurrency=1), 6, memo=memo)
        assert [o.scores["text_faithfulness"] for o in again if isinstance(o, Critique)] == [3.0] * 6
