"""The reward server over real HTTP: the queue, callers that leave, shutdown."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from PIL import Image

from rationalrewards_core.backends.scripted import ScriptedBackend
from tests.core.serving import Client, Held, encoded, run, serving

ROOT = Path(__file__).resolve().parents[2]
Text = Callable[..., str]


@pytest.fixture
def png(picture: Image.Image) -> str:
    return encoded(picture)


class TestQueue:
    def test_full_is_429_and_passes(self, reply_text: Text, png: str) -> None:
        async def work() -> None:
            backend = Held(reply_text())
            async with serving(backend, max_waiting=3) as client:
                slow = asyncio.create_task(client.batch([{"request": "a", "image": png}] * 2))
                await client.until_waiting(2)
                items = {"items": [{"request": "b", "image": png}] * 2}
                async with client.session.post(client.url + "/v1/critique/batch", json=items) as answer:
                    assert answer.status == 429
                    assert int(answer.headers["Retry-After"]) >= 1
                    error = (await answer.json())["error"]
                assert error == {
                    "reason": "queue_full",
                    "message": "2 items are waiting and at most 3 may; try again later.",
                }
                last = asyncio.create_task(client.critique(request="c", image=png))
                await client.until_waiting(3)
                status, _ = await client.ask("POST", "/v1/critique", data=b"not even read")
                assert status == 429
                backend.release.set()
                assert (await slow)[0] == (await last)[0] == 200
                assert (await client.batch(items["items"]))[0] == 200
                metrics = await client.metrics()
                assert (metrics["waiting"], metrics["rejected"]) == (0, {"429": 2})

        run(work())

    def test_a_refused_call_leaves_no_place_taken(self, png: str, reply_text: Text) -> None:
        async def work() -> None:
            async with serving(ScriptedBackend(lambda *_: reply_text()), max_waiting=1) as client:
                for _ in range(3):
                    assert (await client.critique(request="a", image="AAAA"))[0] == 400
                assert (await client.critique(request="a", image=png))[0] == 200

        run(work())

    def test_health_answers_while_a_slow_judgement_runs(self, reply_text: Text, png: str) -> None:
        async def work() -> None:
            backend = Held(reply_text(), concurrency=1)
            async with serving(backend) as client:
                slow = asyncio.create_task(client.critique(request="a", image=png))
                await client.until_waiting(1)
                answer = await asyncio.wait_for(client.ask("GET", "/health"), 1)
                assert answer == (200, {"status": "ok"})
                assert not slow.done()
                backend.release.set()
                assert (await slow)[0] == 200

        run(work())

    def test_a_caller_that_leaves_frees_its_place(self, reply_text: Text, png: str) -> None:
        async def work() -> None:
            backend = Held(reply_text(), concurrency=1)
            async with serving(backend, max_waiting=4) as client:
                slow = asyncio.create_task(client.batch([{"request": "a", "image": png}] * 4))
                await client.until_waiting(4)
                async with asyncio.timeout(10):
                    while backend.running < 1:  # the images are read first
                        await asyncio.sleep(0.005)
                slow.cancel()
                await client.until_waiting(0)
                assert backend.running == 0
                backend.release.set()
                assert (await client.critique(request="b", image=png))[0] == 200

        run(work())


STAND_ALONE = """
import asyncio, sys
sys.path.insert(0, {root!r})
from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.serving.server import ServeConfig, serve

class Judge(ScriptedBackend):
    async def reply(self, messages, sampling):
        await asyncio.sleep(60.0 if "leaving" in messages[-1].text else 0.8)
        return await super().reply(messages, sampling)

    async def close(self):
        print("closed", flush=True)

scorer = Scorer(Judge(lambda *_: sys.argv[1]))
serve(scorer, ServeConfig(port=0), lambda address: print(address, flush=True))
"""


def test_the_real_server_frees_places_and_finishes_what_runs_when_stopped(reply_text: Text, png: str) -> None:
    code = STAND_ALONE.format(root=str(ROOT))
    process = subprocess.Popen([sys.executable, "-c", code, reply_text()], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = process.stdout.readline().strip()

    async def work() -> None:
        async with aiohttp.ClientSession() as session:
            client = Client(session, url)
            leaving = asyncio.create_task(client.critique(request="leaving", image=png))
            await client.until_waiting(1)
            leaving.cancel()
            await client.until_waiting(0)
            staying = asyncio.create_task(client.critique(request="staying", image=png))
            await client.until_waiting(1)
            process.send_signal(signal.SIGTERM)
            status, answer = await staying
            assert (status, answer["scores"]["text_faithfulness"]) == (200, 3.0)
            with pytest.raises(aiohttp.ClientConnectionError):
                await client.ask("GET", "/health")

    try:
        run(work())
        rest, _ = process.communicate(timeout=10)
        assert (process.returncode, rest) == (0, "closed\n")
    finally:
        process.kill()
        process.wait()
