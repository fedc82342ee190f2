"""How nodes wait for a judge: interrupts, work beside each other, which engine makes room, and the progress bar."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from tests.nodes.comfy_stub import InterruptProcessingException, Pack

pytestmark = pytest.mark.usefixtures("quiet")


def test_an_interrupt_stops_work_in_another_thread(pack: Pack) -> None:
    management = sys.modules["comfy.model_management"]
    progress = pack.module("nodes.judge.progress").NodeProgress("7", 1)
    stopped, ended = threading.Event(), []

    async def work() -> None:
        management.interrupted = True
        ended.append(await asyncio.to_thread(stopped.wait, 20))

    with pytest.raises(InterruptProcessingException):
        pack.module("nodes.judge.interruptible").finish_here(work, progress.show, stopped.set)
    assert ended == [True]
    assert not management.interrupted


def test_an_interrupt_cancels_work_beside(pack: Pack) -> None:
    progress = pack.module("nodes.judge.progress").NodeProgress("7", 1)
    cancelled = []

    async def work() -> None:
        sys.modules["comfy.model_management"].interrupted = True
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    with pytest.raises(InterruptProcessingException):
        asyncio.run(pack.module("nodes.judge.interruptible").finish_beside(work, progress.show))
    assert cancelled == [True]


def test_what_work_raises_reaches_the_node(pack: Pack) -> None:
    waiting = pack.module("nodes.judge.interruptible")

    async def work() -> None:
        raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        waiting.finish_here(work, lambda: None, lambda: None)
    with pytest.raises(KeyError, match="bug"):
        asyncio.run(waiting.finish_beside(work, lambda: None))


def test_two_nodes_may_wait_for_one_server(pack: Pack) -> None:
    engines, progress = pack.module("nodes.judge.engines"), pack.module("nodes.judge.progress").NodeProgress("7", 1)
    closed: list[str] = []

    class Connection:
        async def close(self) -> None:
            closed.append("closed")

    engine = engines.ServerEngine("judge", Connection(), {})

    async def both() -> list[int]:
        async def quick() -> int:
            return len(closed)

        async def slow() -> int:
            await asyncio.sleep(0.15)
            return len(closed)

        return list(await asyncio.gather(engine.run(quick, progress), engine.run(slow, progress)))

    assert asyncio.run(both()) == [0, 0]
    assert closed == ["closed"]


def test_the_local_engine_unused_for_longest_is_unloaded(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    engines = pack.module("nodes.judge.engines")
    monkeypatch.setattr(engines, "_local", type(engines._local)())
    unloaded: list[str] = []

    class Backend:
        def __init__(self, name: str) -> None:
            self.name = name

        def unload(self) -> None:
            unloaded.append(self.name)

    one, two, three, twin = (
        engines.LocalEngine(name, Backend(name), {}, identity, 100)
        for name, identity in (("one", "1"), ("two", "2"), ("three", "3"), ("twin", "1"))
    )
    for engine in (one, two, one, three):
        engines.remember(engine)
    assert unloaded == ["two"]
    engines.remember(twin)
    assert unloaded == ["two", "one"], "two engines of one model never hold memory both"
    assert list(engines._local.values()) == [three, twin]


def test_other_nodes_run_while_a_server_is_waited_for(pack: Pack) -> None:
    waiting = pack.module("nodes.judge.interruptible")

    async def both() -> list[str]:
        order: list[str] = []

        async def server() -> None:
            await asyncio.sleep(0.05)
            order.append("server")

        async def other() -> None:
            order.append("other")

        await asyncio.gather(waiting.finish_beside(server, lambda: None), other())
        return order

    assert asyncio.run(both()) == ["other", "server"]


def test_the_bar_grows_by_tokens_and_images_and_never_shrinks(pack: Pack) -> None:
    progress = pack.module("nodes.judge.progress").NodeProgress("7", 2)
    seen = [progress.value]
    for tokens in (1, 200, 5000):
        progress.token(tokens, 6000)
        seen.append(progress.value)
    progress.image()
    seen.append(progress.value)
    progress.token(10, 6000)
    seen.append(progress.value)
    progress.image()
    seen.append(progress.value)
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert seen[3] < seen[4] == 1000
    assert seen[-1] == 2000
    progress.show()
    progress.restart(1)
    progress.show()
    assert progress._bar.current == 2000
