"""The teacher's server: the chat protocol, a number of slots, a stated latency, and notes of what it did."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from rationalrewards_core.errors import RequestError

from ...data.records import reply_hash
from ...parrot.prompts import TeacherTexts
from .answers import Mind, Said
from .faults import FaultShares, dice
from .questions import read_ask

NAME: Final = "miniature-teacher"


@dataclass(frozen=True, kw_only=True)
class TeacherServing:
    """How the server behaves, apart from what it says."""

    slots: int = 8
    """Questions worked on at once; others wait, as behind a real server's scheduler."""
    latency: float = 0.0
    """Seconds that a question takes on average, from half to one and a half times as long; the oracle's own apart."""
    seed: int = 0


class TeacherServer:
    """One application. `log` gets a line per answer: which question, which fault, and the hash of the reply."""

    def __init__(
        self, mind: Mind, texts: TeacherTexts, shares: FaultShares, serving: TeacherServing, log: Path | None
    ) -> None:
        self._mind, self._texts, self._shares, self._serving = mind, texts, shares, serving
        self._log = log.open("a", encoding="utf-8") if log is not None else None
        self._slots = asyncio.Semaphore(serving.slots)
        self._attempts: Counter[str] = Counter()
        self._busy = _Busy()
        self.answered = 0

    def application(self) -> web.Application:
        app = web.Application(client_max_size=2**27)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/busy", self._busyness)
        app.on_cleanup.append(self._close)
        return app

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        try:
            ask = read_ask(body, self._texts)
        except (RequestError, KeyError, IndexError, TypeError) as error:
            return _complaint(400, str(error))
        self._attempts[reply_hash(ask.address)] += 1
        first = self._attempts[reply_hash(ask.address)] == 1
        if first and dice(self._serving.seed, "broken", ask.address).random() < self._shares.broken:
            return _complaint(503, "overloaded, come again")
        async with self._slots:
            self._busy.enter()
            try:
                await asyncio.sleep(self._seconds(ask.address))
                answer = self._mind.answer(ask)
            except RequestError as error:
                return _complaint(400, str(error))
            finally:
                self._busy.leave()
        self.answered += 1
        self._note(ask.kind, "" if ask.label is None else ask.label.value, answer)
        return web.json_response(_completion(answer, body))

    def _seconds(self, address: str) -> float:
        return self._serving.latency * dice(self._serving.seed, "latency", address).uniform(0.5, 1.5)

    async def _models(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"data": [{"id": NAME}]})

    async def _busyness(self, request: web.Request) -> web.StreamResponse:
        """Share of the slots' time that was worked, from the first question to the last answer."""
        return web.json_response({"busy": self._busy.share(self._serving.slots), "answered": self.answered})

    def _note(self, kind: str, label: str, answer: Said) -> None:
        if self._log is None:
            return
        line = {
            "ask": kind,
            "label": label,
            "fault": answer.fault,
            "seen": answer.seen,
            "reply": reply_hash(answer.text),
        }
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()

    async def _close(self, _: web.Application) -> None:
        if self._log is not None:
            self._log.close()


class _Busy:
    """The integral of occupied slots over time."""

    def __init__(self) -> None:
        self._now = 0
        self._area = self._begin = self._last = 0.0

    def enter(self) -> None:
        self._turn(1)

    def leave(self) -> None:
        self._turn(-1)

    def share(self, slots: int) -> float:
        whole = (self._last - self._begin) * slots
        return self._area / whole if whole > 0 else 0.0

    def _turn(self, step: int) -> None:
        moment = time.perf_counter()
        self._begin = self._begin or moment
        self._area += self._now * (moment - (self._last or moment))
        self._last, self._now = moment, self._now + step


def _completion(answer: Said, body: dict[str, Any]) -> dict[str, Any]:
    usage = {"prompt_tokens": len(json.dumps(body["messages"])) // 4, "completion_tokens": len(answer.text) // 4}
    choice = {"index": 0, "message": {"role": "assistant", "content": answer.text}, "finish_reason": answer.finish}
    return {"model": NAME, "choices": [choice], "usage": usage}


def _complaint(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "code": status}}, status=status)
