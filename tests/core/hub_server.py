"""A model hub on a loopback port: lists a release and serves it in ranges, and does wrong on command."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from aiohttp import web

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PIECE = 16_384


def judge_files(size: int = 600_000) -> dict[str, bytes]:
    """A checkpoint in its outward form: weights of `size` bytes, and small files."""
    config = {"model_type": "qwen3_vl", "vision_config": {}}
    return {
        "config.json": json.dumps(config).encode(),
        "tokenizer.json": b"{}",
        "model-00001-of-00002.safetensors": Random(1).randbytes(size),
        "model-00002-of-00002.safetensors": Random(2).randbytes(size // 2),
        "README.md": b"# a judge",
    }


@dataclass
class HubServer:
    """What it serves, how it misbehaves, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=judge_files)
    commit: str = COMMIT
    cut_after: int | None = None
    """Bytes of a file after which every connection is cut."""
    seconds: float = 0.0
    """Waited between pieces of `PIECE` bytes."""
    ranges: bool = True
    status: int = 200
    """Of answers to requests for files."""
    wrong: set[str] = field(default_factory=set)
    """Names of files that arrive with one other byte."""
    extra: list[dict[str, Any]] = field(default_factory=list)
    """Further rows of the list."""
    asked: list[str] = field(default_factory=list)
    """Paths, in the order of the requests."""
    spans: list[tuple[str, int]] = field(default_factory=list)
    """(name, first byte asked for) of requests for files."""
    address: str = ""

    async def about(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        return web.json_response({"sha": self.commit})

    async def tree(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        return web.json_response([*(row(name, content) for name, content in self.files.items()), *self.extra])

    async def resolve(self, request: web.Request) -> web.Response:
        """As the real hub: the file is somewhere else."""
        self.asked.append(request.path)
        assert request.match_info["commit"] == self.commit
        raise web.HTTPFound(f"/cdn/{request.match_info['name']}")

    async def content(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        whole = self.files[name]
        if name in self.wrong:
            whole = bytes([whole[0] ^ 1]) + whole[1:]
        first = request.http_range.start or 0
        self.spans.append((name, first))
        if self.status != 200:
            return web.Response(status=self.status)
        if not self.ranges:
            first = 0
        answer = web.StreamResponse(status=206 if self.ranges else 200)
        if self.ranges:
            answer.headers["Content-Range"] = f"bytes {first}-{len(whole) - 1}/{len(whole)}"
        answer.content_length = len(whole) - first
        await answer.prepare(request)
        for at in range(first, len(whole), PIECE):
            if self.cut_after is not None and at - first >= self.cut_after:
                assert request.transport is not None
                request.transport.close()
                break
            await answer.write(whole[at : at + PIECE])
            await asyncio.sleep(self.seconds)
        return answer

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/api/models/{owner}/{repo}/revision/{revision}", self.about)
        app.router.add_get("/api/models/{owner}/{repo}/tree/{commit}", self.tree)
        app.router.add_get("/{owner}/{repo}/resolve/{commit}/{name}", self.resolve)
        app.router.add_get("/cdn/{name}", self.content)
        return app


def row(name: str, content: bytes) -> dict[str, Any]:
    """As the hub lists a file: weights with their SHA-256, small files with their git hash."""
    git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    plain = {"type": "file", "oid": git, "size": len(content), "path": name}
    if not name.endswith(".safetensors"):
        return plain
    return {**plain, "lfs": {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 135}}


@contextmanager
def serving_hub(**wishes: Any) -> Iterator[HubServer]:
    """On a thread and a loop of its own."""
    hub = HubServer(**wishes)
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(hub.application(), shutdown_timeout=0.1)

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        hub.address = f"http://127.0.0.1:{runner.addresses[0][1]}"

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
