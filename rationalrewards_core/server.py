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
import base64
import binascii
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from aiohttp import web

from .critique import Critique, Unscored
from .errors import ConfigError, RequestError
from .images import open_image
from .messages import UserRequest
from .parsing import Mode
from .scorer import Case, Outcome, Scorer
from .server_metrics import ServerMetrics

log = logging.getLogger("rationalrewards.server")

LOOPBACK = ("127.0.0.1", "::1", "localhost")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Where the server listens and what it accepts."""

    host: str = "127.0.0.1"
    """Address to bind to; this machine only unless told otherwise."""
    port: int = 8288
    token: str | None = field(default=None, repr=False)
    """Bearer token every call must carry, /health excepted; None asks for none."""
    max_body_bytes: int = 64 * 2**20
    """Larger request bodies are refused with 413."""
    max_pixels: int = 16_777_216
    """Larger images are refused, before they are decoded."""
    max_batch: int = 256
    """Items of one batch."""
    max_waiting: int = 512
    """Items queued or being judged over all calls; more are refused with 429."""
    request_seconds: float = 600.0
    """Limit of judging one item, waiting included; beyond it the item is unscored (`timeout`)."""
    shutdown_seconds: float = 30.0
    """How long a stopping server lets calls under way finish."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"port must be between 0 and 65535, not {self.port}.")
        if self.token is not None and len(self.token) < 8:
            raise ConfigError("token must have at least 8 characters.")
        for name in ("max_body_bytes", "max_pixels", "max_batch", "max_waiting"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}.")
        for name in ("request_seconds", "shutdown_seconds"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be positive, not {getattr(self, name)}.")


class RewardServer:
    """The handlers and what they share."""

    def __init__(self, scorer: Scorer, config: ServeConfig) -> None:
        self._scorer, self._config = scorer, config
        self._metrics = ServerMetrics()
        self._waiting = 0

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
        app.on_cleanup.append(self._close)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count the call, check the token, and turn refusals into JSON."""
        self._metrics.requests += 1
        try:
            if request.path != "/health":
                self._authorise(request)
            return await handler(request)
        except web.HTTPException as refusal:
            self._metrics.rejected[refusal.status] += 1
            if refusal.content_type == "application/json":
                raise
            reason = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}.get(refusal.status, "refused")
            limit = f" (at most {self._config.max_body_bytes} bytes)" if refusal.status == 413 else ""
            headers = {"Allow": refusal.headers["Allow"]} if "Allow" in refusal.headers else None
            return web.json_response(
                _error(reason, f"{refusal.reason}{limit}."), status=refusal.status, headers=headers
            )

    def _authorise(self, request: web.Request) -> None:
        token = self._config.token
        if token is None:
            return
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), token.encode()):
            _refuse(web.HTTPUnauthorized, "unauthorized", "Send the server's token as 'Authorization: Bearer TOKEN'.")

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _show_metrics(self, request: web.Request) -> web.Response:
        wanted = request.query.get("format") == "prometheus" or "text/plain" in request.headers.get("Accept", "")
        if wanted:
            return web.Response(text=self._metrics.to_prometheus(self._waiting, self._scorer.memo))
        return web.json_response(self._metrics.to_json(self._waiting, self._scorer.memo))

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
        body = await _json_object(request, {"request", "image", "sources", "mode"})
        mode = _mode(body)
        with _Places(self, 1):
            case = await self._case(body)
            if isinstance(case, Unscored):
                _refuse(web.HTTPBadRequest, case.reason, case.message)
            return web.json_response(await self._judged(case, mode))

    async def _many(self, request: web.Request) -> web.Response:
        body = await _json_object(request, {"items", "mode"})
        mode, rows = _mode(body), body.get("items")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            _refuse(web.HTTPBadRequest, "bad_request", "items must be a list of objects.")
        if not 1 <= len(rows) <= self._config.max_batch:
            _refuse(
                web.HTTPBadRequest,
                "bad_request",
                f"items must hold 1 to {self._config.max_batch} entries, not {len(rows)}.",
            )
        with _Places(self, len(rows)):
            answers = await asyncio.gather(*(self._row(row, mode) for row in rows))
        failed = sum(answer["unscored"] is not None for answer in answers)
        return web.json_response({"items": answers, "failure_rate": failed / len(answers)})

    async def _row(self, row: dict[str, Any], mode: Mode) -> dict[str, Any]:
        """One item of a batch; whatever is wrong with it stays its own."""
        started = time.perf_counter()
        unknown = set(row) - {"request", "image", "sources"}
        case: Case | Unscored
        if unknown:
            case = Unscored(reason="bad_request", message=f"unknown field {min(unknown)!r}.")
        else:
            case = await self._case(row)
        if isinstance(case, Case):
            return await self._judged(case, mode)
        seconds = time.perf_counter() - started
        self._metrics.add(case, seconds)
        return self._answer(None, case, seconds)

    async def _case(self, row: dict[str, Any]) -> Case | Unscored:
        """Read one item; images are decoded in a thread so that the loop stays responsive."""
        try:
            if not isinstance(row.get("request"), str):
                raise RequestError("request must be a text.")
            sources = row.get("sources") or []
            if not isinstance(sources, list) or len(sources) > 8:
                raise RequestError("sources must be a list of at most 8 images.")
            images = [
                await asyncio.to_thread(self._image, value, name)
                for value, name in [(row.get("image"), "image"), *((s, f"sources[{i}]") for i, s in enumerate(sources))]
            ]
            return Case(UserRequest(row["request"], tuple(images[1:])), images[0])
        except RequestError as error:
            return Unscored(reason=error.reason, message=str(error))

    def _image(self, value: Any, name: str) -> Any:
        if not isinstance(value, str) or not value:
            raise RequestError(f"{name} must be a base64 text.")
        encoded = value.partition(",")[2] if value.startswith("data:") else value
        try:
            content = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise RequestError(f"{name} is not valid base64.") from error
        try:
            return open_image(content, self._config.max_pixels)
        except RequestError as error:
            raise RequestError(f"{name}: {error}") from error

    async def _judged(self, case: Case, mode: Mode) -> dict[str, Any]:
        started = time.perf_counter()
        outcome: Outcome
        try:
            judging = self._scorer.score_many([case], mode)
            outcome = (await asyncio.wait_for(judging, self._config.request_seconds)).outcomes[0]
        except asyncio.TimeoutError:
            message = f"No critique within {self._config.request_seconds:g} s."
            outcome = Unscored(reason="timeout", message=message)
        seconds = time.perf_counter() - started
        self._metrics.add(outcome, seconds)
        return self._answer(case, outcome, seconds)

    def _answer(self, case: Case | None, outcome: Outcome, seconds: float) -> dict[str, Any]:
        if isinstance(outcome, Critique) and case is not None:
            return {
                "reward": self._scorer.reward(outcome, case.request),
                "scores": outcome.scores,
                "critique": outcome.to_json(),
                "unscored": None,
                "seconds": round(seconds, 4),
            }
        assert isinstance(outcome, Unscored)
        return {
            "reward": None,
            "scores": None,
            "critique": None,
            "unscored": {"reason": outcome.reason, "message": outcome.message},
            "seconds": round(seconds, 4),
        }

    async def _close(self, app: web.Application) -> None:
        await self._scorer.close()


class _Places:
    """Room for some items among all that wait; a 429 when there is none. Always given back."""

    def __init__(self, server: RewardServer, count: int) -> None:
        self._server, self._count = server, count

    def __enter__(self) -> None:
        server = self._server
        if server._waiting + self._count > server._config.max_waiting:
            _refuse(
                web.HTTPTooManyRequests,
                "queue_full",
                f"{server._waiting} items are waiting and at most {server._config.max_waiting} may; try again later.",
                {"Retry-After": "2"},
            )
        server._waiting += self._count

    def __exit__(self, *error: Any) -> None:
        self._server._waiting -= self._count


def make_app(scorer: Scorer, config: ServeConfig) -> web.Application:
    """The aiohttp application; it closes the scorer when it is cleaned up."""
    return RewardServer(scorer, config).app()


def serve(scorer: Scorer, config: ServeConfig) -> None:
    """Serve until SIGINT or SIGTERM; calls under way are finished first, up to `shutdown_seconds`."""
    if config.host not in LOOPBACK and config.token is None:
        log.warning("listening on %s without a token: anybody who can reach it can use it", config.host)
    web.run_app(
        make_app(scorer, config),
        host=config.host,
        port=config.port,
        shutdown_timeout=config.shutdown_seconds,
        print=None,
        access_log=None,
        handler_cancellation=True,
    )


async def _json_object(request: web.Request, known: set[str]) -> dict[str, Any]:
    try:
        body = json.loads(await request.read())
    except (ValueError, UnicodeDecodeError, RecursionError):
        _refuse(web.HTTPBadRequest, "bad_request", "The body is not valid JSON.")
    if not isinstance(body, dict):
        _refuse(web.HTTPBadRequest, "bad_request", "The body must be a JSON object.")
    for key in body:
        if key not in known:
            _refuse(
                web.HTTPBadRequest,
                "bad_request",
                f"unknown field {key!r}; known fields are {', '.join(sorted(known))}.",
            )
    return body


def _mode(body: dict[str, Any]) -> Mode:
    mode = body.get("mode", "critique")
    if mode not in ("critique", "score"):
        _refuse(web.HTTPBadRequest, "bad_request", "mode must be 'critique' or 'score'.")
    return mode  # type: ignore[no-any-return]


def _refuse(kind: type[web.HTTPError], reason: str, message: str, headers: dict[str, str] | None = None) -> NoReturn:
    raise kind(text=json.dumps(_error(reason, message)), content_type="application/json", headers=headers)


def _error(reason: str, message: str) -> dict[str, Any]:
    return {"error": {"reason": reason, "message": message}}
