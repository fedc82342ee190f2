"""A small OpenAI-style server on a loopback port that does wrong on command, and takes notes.

A test gives it a script: a function from an `Ask` to an answer. It runs on a thread and a loop of its
own, so what is tested is real HTTP, and a client may come and go with several loops.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from rationalrewards_core.servers import ServerConfig


@dataclass(frozen=True)
class Ask:
    """One request as it arrived."""

    number: int
    """0 for the first chat request."""
    body: dict[str, Any]
    authorization: str
    peer: tuple[str, int]
    """The client's address: one per connection."""

    @property
    def text(self) -> str:
        """All text of the last message."""
        content = self.body["messages"][-1]["content"]
        return content if isinstance(content, str) else "".join(p.get("text", "") for p in content)


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Script = Callable[[Ask], Answer]


def raw(content: bytes | str, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Exactly this."""

    async def answer(request: web.Request) -> web.StreamResponse:
        body = content.encode() if isinstance(content, str) else content
        return web.Response(body=body, status=status, headers={"Content-Type": "application/json", **(headers or {})})

    return answer


def fault(status: int, message: str = "no", **headers: str) -> Answer:
    """An HTTP error in OpenAI's form."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return raw(json.dumps({"error": {"message": message, "code": status}}), status, named)


def completion(text: Any, finish: str | None = "stop", *, model: str = "judge-8b", **extra: Any) -> Answer:
    """A good answer, or one that is wrong in its text and finish reason only."""
    message = {"role": "assistant", "content": text, **extra.pop("message", {})}
    choice = {"index": 0, "message": message, "finish_reason": finish, **extra.pop("choice", {})}
    usage = {"prompt_tokens": 11, "completion_tokens": 7}
    return raw(json.dumps({"model": model, "choices": [choice], "usage": usage, **extra}))


def hang() -> Answer:
    """No answer at all, as long as the client waits."""

    async def answer(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    return answer


def reset() -> Answer:
    """The connection is reset before a byte is sent."""

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        request.transport.abort()
        return web.Response()

    return answer


def half_body(text: str = "# Detailed Judgement") -> Answer:
    """A body that is announced in full and ends in the middle."""

    async def answer(request: web.Request) -> web.StreamResponse:
        whole = json.dumps({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}).encode()
        response = web.StreamResponse(headers={"Content-Length": str(len(whole))})
        await response.prepare(request)
        await response.write(whole[: len(whole) // 2])
        assert request.transport is not None
        request.transport.close()
        return response

    return answer


def slowly(answer: Answer, seconds: float) -> Answer:
    async def later(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return await answer(request)

    return later


@dataclass
class FaultServer:
    """What the server was asked; `script` may be changed between requests."""

    script: Script
    models: Answer = field(default_factory=lambda: raw('{"data": [{"id": "judge-8b"}]}'))
    pages: dict[str, Answer] = field(default_factory=dict)
    """What stands beside /v1, such as /health."""
    port: int = 0
    asks: list[Ask] = field(default_factory=list)
    model_lists: int = 0
    most_at_once: int = 0
    _now: int = 0

    def config(self, **options: Any) -> ServerConfig:
        """How a user would name this server."""
        given = {
            "model": "judge-8b",
            "retries": 2,
            "timeout_seconds": 5.0,
            "check_sight": False,
            "probe": False,
            **options,
        }
        return ServerConfig(name="judge", url=f"http://127.0.0.1:{self.port}/v1", **given)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            peer = request.transport.get_extra_info("peername") if request.transport else ("", 0)
            ask = Ask(len(self.asks), await request.json(), request.headers.get("Authorization", ""), peer)
            self.asks.append(ask)
            return await self.script(ask)(request)
        finally:
            self._now -= 1

    async def _models(self, request: web.Request) -> web.StreamResponse:
        self.model_lists += 1
        return await self.models(request)

    async def _beside(self, request: web.Request) -> web.StreamResponse:
        answer = self.pages.get(request.path)
        return web.Response(status=404) if answer is None else await answer(request)

    async def _start(self) -> web.AppRunner:
        application = web.Application(client_max_size=2**26)
        application.router.add_post("/v1/chat/completions", self._chat)
        application.router.add_get("/v1/models", self._models)
        application.router.add_get("/{page:.*}", self._beside)
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        return runner


@contextmanager
def serving(script: Script) -> Iterator[FaultServer]:
    """The server, up for the length of a `with`."""
    server, loop = FaultServer(script), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(server._start(), loop).result(10)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
