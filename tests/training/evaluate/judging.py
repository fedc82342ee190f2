"""For the tests: a judge of images behind real HTTP, which says of the same question the same thing every time.

It reads from the question in which form it is to answer, and draws its scores from a hash of words and images. Its
faults are drawn the same way: a 503 the first time, a reply cut off, nonsense, a refusal.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

MODEL = "judge-2026-11-24"
BRIGHT, DARK = 200, 20
"""Shades of the pictures of a pair."""


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Shares of questions, 0 to 1."""

    broken: float = 0.0
    truncated: float = 0.0
    nonsense: float = 0.0
    refused: float = 0.0
    down: bool = False
    """Every question gets a 500."""


@dataclass
class JudgeServer:
    """What the server did, and what it would say."""

    faults: Faults
    latency: float = 0.0
    critique: str = ""
    """What it says when it is asked in a rubric."""
    asked: Counter[str] = field(default_factory=Counter)
    """Hash of a question -> how often a reply to it was sent."""
    tried: Counter[str] = field(default_factory=Counter)

    def application(self) -> web.Application:
        app = web.Application(client_max_size=2**27)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        return app

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "judge"}]})

    async def _chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        question = hash_of(body["messages"])
        self.tried[question] += 1
        fault = self.fault(question)
        if self.faults.down or (fault == "broken" and self.tried[question] == 1):
            return web.json_response({"error": {"message": "overloaded"}}, status=500 if self.faults.down else 503)
        await asyncio.sleep(self.latency)
        asked = text_of(body["messages"])
        text = self.critique if "# Detailed Judgement" in asked else said(asked, question)
        finish = "stop"
        if fault == "truncated":
            text, finish = text[: len(text) // 2], "length"
        elif fault in ("nonsense", "refused"):
            text = {"nonsense": "blue seven lantern 4:", "refused": ""}[fault]
        self.asked[question] += 1
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        return web.json_response({"model": MODEL, "choices": [choice], "usage": usage})

    def fault(self, question: str) -> str:
        place = random.Random(question).random()
        for name in ("broken", "truncated", "nonsense", "refused"):
            place -= getattr(self.faults, name)
            if place < 0:
                return name
        return ""


def hash_of(messages: Any) -> str:
    return hashlib.sha256(json.dumps(messages, sort_keys=True).encode()).hexdigest()[:16]


def text_of(messages: Any) -> str:
    contents = [message["content"] for message in messages if isinstance(message["content"], list)]
    return "".join(part["text"] for content in contents for part in content if part["type"] == "text")


def said(text: str, question: str) -> str:
    """The reply to a question, in the form it asks for; the question's hash is its reason."""
    rng = random.Random(f"score {question}")
    if "umber from 1 to 5" in text:
        scores = [rng.randint(1, 5) for _ in range(3)]
        return f"Reason: {question}\nCompliance: {scores[0]}\n**Naturalness: {scores[1]}**\nFidelity: {scores[2]}/5"
    if "<score>" in text:
        points = text.rsplit("「", 1)[-1].split("」")[0].strip().count("\n") + 1
        return f"<analysis>['{question}']</analysis><score>{[rng.randint(0, 1) for _ in range(points)]}</score>"
    if '"score"' in text:
        return json.dumps({"score": [rng.randint(0, 10), rng.randint(0, 10)], "reasoning": question})
    return f"```json\n{json.dumps({'answer': rng.choice(['Yes', 'No']), 'explanation': question})}\n```"


def hash_in(reply: str) -> str:
    """Which question a reply was to."""
    found = re.search(r"[0-9a-f]{16}", reply)
    return found.group() if found else ""


@contextmanager
def judging(config_home: Path, faults: Faults | None = None, latency: float = 0.0) -> Iterator[JudgeServer]:
    """The judge on a thread of its own and a free port, named `judge` in the configuration under `config_home`."""
    server = JudgeServer(faults or Faults(), latency)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=0.1)

    async def start() -> int:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return int(runner.addresses[0][1])

    port = asyncio.run_coroutine_threadsafe(start(), loop).result(20)
    config = config_home / "rationalrewards" / "config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    retries = 0 if server.faults.down else 2
    config.write_text(
        f'[servers.judge]\nurl = "http://127.0.0.1:{port}/v1"\nconcurrency = 2\nretries = {retries}\ncheck_sight = false\nprobe = false\n',
        encoding="utf-8",
    )
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()
