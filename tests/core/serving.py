"""For the tests of the reward server: a server on a loopback port and a client to ask it with."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web
from PIL import Image

from rationalrewards_core.backends.base import Reply, Sampling
from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.memo import Memo
from rationalrewards_core.messages import Message
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings
from rationalrewards_core.serving.server import ServeConfig, make_app

TOKEN = "a-long-secret"


class Held(ScriptedBackend):
    """A judge that answers only once it is released; knows how many ask at the same time."""

    def __init__(self, text: str, concurrency: int = 8) -> None:
        super().__init__(lambda *_: text, concurrency=concurrency)
        self.release = asyncio.Event()
        self.running = self.most = self.closed = 0

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.release.wait()
            return await super().reply(messages, sampling)
        finally:
            self.running -= 1

    async def close(self) -> None:
        self.closed += 1


class Client:
    """A few words for asking the server."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session, self.url = session, url

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        if "data" in options:
            options["headers"] = {"Content-Type": "application/json", **options.get("headers", {})}
        async with self.session.request(method, self.url + path, **options) as answer:
            return answer.status, json.loads(await answer.text())

    async def critique(self, **body: Any) -> tuple[int, Any]:
        return await self.ask("POST", "/v1/critique", json=body)

    async def batch(self, items: list[Any], **body: Any) -> tuple[int, Any]:
        return await self.ask("POST", "/v1/critique/batch", json={"items": items, **body})

    async def metrics(self) -> Any:
        return (await self.ask("GET", "/metrics"))[1]

    async def until_waiting(self, count: int) -> None:
        for _ in range(400):
            if (await self.metrics())["waiting"] == count:
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"never {count} waiting")


def scorer(backend: Any) -> Scorer:
    return Scorer(backend, settings=ScorerSettings(ask_again=0, guided=False), memo=Memo(limit=0))


@asynccontextmanager
async def serving(backend: Any, **limits: Any) -> AsyncIterator[Client]:
    runner = web.AppRunner(make_app(scorer(backend), ServeConfig(**limits)), handler_cancellation=True, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession() as session:
        yield Client(session, f"http://127.0.0.1:{port}")
    await runner.cleanup()


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 20))


def encoded(image: Image.Image, form: str = "PNG") -> str:
    buffer = io.BytesIO()
    image.save(buffer, format=form)
    return base64.b64encode(buffer.getvalue()).decode()
