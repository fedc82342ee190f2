"""The reward server: critiques over HTTP, for trainers on other machines and programs in other languages.

    POST /v1/critique         {"request": "...", "image": BASE64, "sources": [BASE64], "mode": "critique"}
    POST /v1/critique/batch   {"items": [{"request": ..., "image": ...}, ...], "mode": "score"}
    GET  /v1/rubric           dimensions, weights and scale of what is judged
    GET  /health, /metrics

JSON only, images as base64 PNG, JPEG or WebP (plain or as data URLs). What could not be judged is
an item with `"reward": null` and `"unscored": {"reason", "message"}` inside a 200: a judge's failure
is not an HTTP error, and never a zero. What is wrong with the call itself is a 4xx with one sentence.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from ..critique import Critique, Unscored
from ..errors import RationalRewardsError, RequestError
from ..judged import Outcome
from ..replies.parsing import Mode
from ..scorer import Scorer
from .config import LOOPBACK, ServeConfig, listening_socket
from .failures import FAILED, public_message, refusal_words
from .metrics import ServerMetrics
from .requests import (
    ITEM_FIELDS,
    check_site,
    check_token,
    error_json,
    mode_of,
    read_item,
    read_object,
    refuse,
    rows_of,
)
from .room import Allowance, Room

__all__ = ["RewardServer", "ServeConfig", "make_app", "serve"]

log = logging.getLogger("rationalrewards.server")

ANSWER_SECONDS = 1.0
"""How long answers may take to be sent once a stopping server has finished or given up what was under way."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RewardServer:
    """The handlers and what they share."""

    def __init__(self, scorer: Scorer, config: ServeConfig) -> None:
        self._scorer, self._config = scorer, config
        self._metrics = ServerMetrics()
        self._room = Room(config)
        self._stopping = False
        self._running: set[asyncio.Task[Any]] = set()
        """Items being judged or waiting for it."""
        # Over all calls: no more items are read than the backend works on at once, and no more pixels than fit.
        self._gate = asyncio.Semaphore(max(1, scorer.backend.concurrency))
        self._pixels = Allowance(config.max_decoded_pixels)

    def app(self) -> web.Application:
        app = web.Application(client_max_size=self._config.max_body_bytes, middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/health", self._health),
                web.get("/metrics", self._show_metrics),
                web.get("/v1/rubric", self._rubric),
                web.post("/v1/critique", self._one),
                web.post("/v1/critique/batch", self._many),
            ]
        )
        app.on_shutdown.append(self._drain)
        app.on_cleanup.append(self._close)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count the call, check the token, and turn refusals and failures into JSON."""
        self._metrics.requests += 1
        try:
            if request.path != "/health":
                check_token(request, self._config.token)
                check_site(request, self._config)
            if self._stopping:
                refuse(web.HTTPServiceUnavailable, "stopping", "The server is being stopped.", {"Connection": "close"})
            return await handler(request)
        except web.HTTPException as refusal:
            self._metrics.rejected[refusal.status] += 1
            if refusal.content_type == "application/json":
                raise
            return self._refused(refusal)
        except ConnectionError:
            raise  # the caller is gone
        except RationalRewardsError as error:
            log.error("%s %s: %s", request.method, request.path, error)
            return self._failed(error.reason)
        except Exception:
            log.exception("%s %s", request.method, request.path)
            return self._failed("internal")

    def _refused(self, refusal: web.HTTPException) -> web.Response:
        reason, sentence = refusal_words(refusal, self._config.max_body_bytes)
        headers = {"Allow": refusal.headers["Allow"]} if "Allow" in refusal.headers else None
        return web.json_response(error_json(reason, sentence), status=refusal.status, headers=headers)

    def _failed(self, reason: str) -> web.Response:
        """The server's own fault; what it was stays in the log."""
        self._metrics.rejected[500] += 1
        return web.json_response(error_json(reason, FAILED), status=500)

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _show_metrics(self, request: web.Request) -> web.Response:
        as_prometheus = request.query.get("format") == "prometheus" or "text/plain" in request.headers.get("Accept", "")
        if as_prometheus:
            return web.Response(text=self._metrics.to_prometheus(self._room.waiting, self._scorer.memo))
        return web.json_response(self._metrics.to_json(self._room.waiting, self._scorer.memo))

    async def _rubric(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                kind: {
                    "name": rubric.name,
                    "scale": [rubric.scale.minimum, rubric.scale.maximum],
                    "dimensions": [
                        {"key": d.key, "title": d.title, "optional": d.optional, "weight": d.weight}
                        for d in rubric.dimensions
                    ],
                }
                for kind, rubric in self._scorer.rubrics.items()
            }
        )

    async def _one(self, request: web.Request) -> web.Response:
        self._room.require_places(1)
        with self._room.body(request):
            body = await read_object(request, ITEM_FIELDS | {"mode"}, self._config)
            mode = mode_of(body)
            body.pop("mode", None)
            with self._room.places(1):
                try:
                    return web.json_response(await self._item(body, mode))
                except RequestError as error:
                    refuse(web.HTTPBadRequest, error.reason, str(error))

    async def _many(self, request: web.Request) -> web.Response:
        self._room.require_places(1)
        with self._room.body(request):
            body = await read_object(request, frozenset({"items", "mode"}), self._config)
            mode, rows = mode_of(body), rows_of(body, self._config.most_items)
            with self._room.places(len(rows)):
                answers = await self._answers(rows, mode)
        failed = sum(answer["unscored"] is not None for answer in answers)
        return web.json_response({"items": answers, "failure_rate": failed / len(answers)})

    async def _answers(self, rows: list[Any], mode: Mode) -> list[dict[str, Any]]:
        tasks = [asyncio.ensure_future(self._batch_item(row, mode)) for row in rows]
        try:
            return await asyncio.gather(*tasks)
        finally:
            # If one of them failed or the caller left, none works on without a place.
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _batch_item(self, row: Any, mode: Mode) -> dict[str, Any]:
        """One item of a batch; whatever is wrong with it stays its own."""
        started = time.perf_counter()
        try:
            return await self._item(row, mode)
        except RequestError as error:
            return self._answer(Unscored(reason=error.reason, message=str(error)), None, started)

    async def _item(self, row: Any, mode: Mode) -> dict[str, Any]:
        """Read and judge one item within the time limit; RequestError if it cannot be read."""
        started, limit = time.perf_counter(), self._config.request_seconds
        task = asyncio.ensure_future(self._judged(row, mode))
        self._running.add(task)
        try:
            outcome, reward = await asyncio.wait_for(task, limit)
        except asyncio.TimeoutError:
            outcome, reward = Unscored(reason="timeout", message=f"No critique within {limit:g} s."), None
        except asyncio.CancelledError:
            if not self._stopping:
                raise  # the caller is gone
            outcome, reward = Unscored(reason="stopped", message="The server was stopped first; ask again."), None
        finally:
            self._running.discard(task)
        return self._answer(outcome, reward, started)

    async def _judged(self, row: Any, mode: Mode) -> tuple[Outcome, float | None]:
        async with self._gate:
            item = await asyncio.to_thread(read_item, row, self._config.max_pixels)
            async with self._pixels.hold(item.pixels):
                case = await asyncio.to_thread(item.case)
                (answer,) = await self._scorer.judge_many([case], mode)
        return answer.outcome, answer.reward

    def _answer(self, outcome: Outcome, reward: float | None, started: float) -> dict[str, Any]:
        seconds = time.perf_counter() - started
        self._metrics.add(outcome, seconds)
        answer: dict[str, Any] = {"reward": reward, "scores": None, "critique": None, "unscored": None}
        if isinstance(outcome, Critique):
            answer.update(scores=outcome.scores, critique=outcome.to_json())
        else:
            answer["unscored"] = {"reason": outcome.reason, "message": public_message(outcome)}
        return {**answer, "seconds": round(seconds, 4)}

    async def _drain(self, app: web.Application) -> None:
        """Let items under way finish within the time limit; the others are told so, and counted in the log."""
        self._stopping = True
        seconds = self._config.shutdown_seconds
        end = time.monotonic() + seconds
        while self._running and time.monotonic() < end:  # more may come, of bodies that were still arriving
            await asyncio.wait(self._running, timeout=end - time.monotonic())
        if late := [task for task in self._running if not task.done()]:
            log.warning("stopped with %d items unscored: they were not judged within %g s", len(late), seconds)
        for task in late:
            task.cancel()

    async def _close(self, app: web.Application) -> None:
        await self._scorer.close()


def make_app(scorer: Scorer, config: ServeConfig) -> web.Application:
    """The aiohttp application; it closes the scorer when it is cleaned up."""
    return RewardServer(scorer, config).app()


def serve(scorer: Scorer, config: ServeConfig, on_ready: Callable[[str], None] = log.info) -> None:
    """Serve until SIGINT or SIGTERM; calls under way are finished first, up to `shutdown_seconds`.

    `on_ready(address)` is called once connections are accepted. ConfigError if the address cannot be had.
    """
    if config.host not in LOOPBACK and config.token is None:
        log.warning("listening on %s without a token: anybody who can reach it can use it", config.host)
    listening = listening_socket(config)
    host = f"[{config.host}]" if ":" in config.host else config.host
    on_ready(f"http://{host}:{listening.getsockname()[1]}")
    web.run_app(
        make_app(scorer, config),
        sock=listening,
        shutdown_timeout=ANSWER_SECONDS,
        print=None,
        access_log=None,
        handler_cancellation=True,
    )
