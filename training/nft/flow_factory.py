"""Flow-Factory's remote reward protocol over a judge of ours, with the reward server's own checks and limits.

    POST /compute   {"prompt": [...], "image": [base64 ...], "condition_images": [[base64 ...] ...] or null}
    GET  /health

answers {"rewards": [...]} or {"error": "one sentence"}. Trainers know numbers only: what could not be judged is an error
there, or, with `impute`, the mean of its prompt's other rewards.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from rationalrewards_core.critique import Critique, Unscored
from rationalrewards_core.errors import BackendError, RequestError
from rationalrewards_core.judged import Case, Outcome
from rationalrewards_core.serving.config import ServeConfig
from rationalrewards_core.serving.failures import FAILED, refusal_words
from rationalrewards_core.serving.requests import Item, check_site, check_token, read_item, read_object, refuse
from rationalrewards_core.serving.room import Allowance, Room

from .rewards import CaseScorer, failures

log = logging.getLogger("rationalrewards.training.nft.flow_factory")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_KEPT_HEADERS = ("Allow", "Connection", "Retry-After", "WWW-Authenticate")


def trainer_limits(host: str = "127.0.0.1", port: int = 8289) -> ServeConfig:
    """What a trainer's batches need: few calls, large bodies."""
    return ServeConfig(
        host=host, port=port, max_body_bytes=256 * 2**20, max_held_bytes=1024 * 2**20, max_batch=4096, max_waiting=8192
    )


@dataclass(frozen=True)
class _Picture:
    """One picture of a call, with its prompt."""

    prompt: str
    row: dict[str, Any]


class FlowFactory:
    """The handlers and what they share."""

    def __init__(self, judge: CaseScorer, config: ServeConfig, *, impute: bool = False) -> None:
        self._judge, self._config, self._impute = judge, config, impute
        self._room, self._pixels = Room(config), Allowance(config.max_decoded_pixels)

    def app(self) -> web.Application:
        app = web.Application(client_max_size=self._config.max_body_bytes, middlewares=[self._guard])
        app.add_routes([web.post("/compute", self._compute), web.get("/health", self._health)])
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check the call, and turn refusals and failures into the protocol's own shape."""
        try:
            if request.path != "/health":
                check_token(request, self._config.token)
                check_site(request, self._config)
            return await handler(request)
        except web.HTTPException as refusal:
            headers = {name: refusal.headers[name] for name in _KEPT_HEADERS if name in refusal.headers}
            return web.json_response({"error": self._sentence(refusal)}, status=refusal.status, headers=headers)
        except ConnectionError:
            raise  # the caller is gone
        except Exception:
            log.exception("%s %s", request.method, request.path)
            return web.json_response({"error": FAILED}, status=500)

    def _sentence(self, refusal: web.HTTPException) -> str:
        if refusal.content_type == "application/json":
            return str(json.loads(refusal.text or "{}")["error"]["message"])
        return refusal_words(refusal, self._config.max_body_bytes)[1]

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _compute(self, request: web.Request) -> web.Response:
        self._room.require_places(1)
        with self._room.body(request):
            pictures = _pictures(await read_object(request, None, self._config), self._config.most_items)
            with self._room.places(len(pictures)):
                rewards, outcomes = await self._judged(pictures)
        try:
            return web.json_response({"rewards": self._complete(rewards, outcomes, [p.prompt for p in pictures])})
        except BackendError as error:
            log.warning("%s", error)
            return web.json_response({"error": str(error)})

    async def _judged(self, pictures: Sequence[_Picture]) -> tuple[list[float | None], list[Outcome]]:
        """Reward and outcome of each; a picture that cannot be read fails alone."""
        items = await asyncio.to_thread(lambda: [_tried(picture.row, self._config) for picture in pictures])
        async with self._pixels.hold(sum(item.pixels for item in items if isinstance(item, Item))):
            cases = await asyncio.to_thread(lambda: [_case(item) for item in items])
            sound = [case for case in cases if isinstance(case, Case)]
            answers = iter((await self._judge.score_many(sound, "score")).outcomes if sound else ())
            outcomes = [next(answers) if isinstance(case, Case) else case for case in cases]
        rewards = [
            self._judge.reward(outcome, case.request)
            if isinstance(outcome, Critique) and isinstance(case, Case)
            else None
            for outcome, case in zip(outcomes, cases, strict=True)
        ]
        return rewards, outcomes

    def _complete(
        self, rewards: list[float | None], outcomes: Sequence[Outcome], prompts: Sequence[str]
    ) -> list[float]:
        if None in rewards and not self._impute:
            listed = ", ".join(f"{reason} {count}x" for reason, count in failures(outcomes).items())
            raise BackendError(f"{rewards.count(None)} of {len(rewards)} images are unscored ({listed}).")
        return imputed(rewards, prompts)


def imputed(rewards: Sequence[float | None], prompts: Sequence[str]) -> list[float]:
    """Missing rewards become the mean of their prompt's others; BackendError where there are none."""
    complete: list[float] = []
    for reward, prompt in zip(rewards, prompts, strict=True):
        if reward is None:
            others = [r for r, p in zip(rewards, prompts, strict=True) if p == prompt and r is not None]
            if not others:
                raise BackendError(f"No image of the prompt {prompt!r} could be scored.")
            reward = sum(others) / len(others)
        complete.append(reward)
    return complete


def _pictures(body: dict[str, Any], most: int) -> list[_Picture]:
    """A call's pictures; refused with 400 if it is none of the protocol's."""
    prompts, images = body.get("prompt"), body.get("image")
    if not isinstance(prompts, list) or not isinstance(images, list):
        refuse(web.HTTPBadRequest, "bad_request", "The body needs the lists prompt and image.")
    sources = body.get("condition_images")
    sources = [[] for _ in prompts] if sources is None else sources
    if not isinstance(sources, list) or not len(prompts) == len(images) == len(sources):
        refuse(web.HTTPBadRequest, "bad_request", "prompt, image and condition_images must be lists of one length.")
    if len(prompts) > most:
        refuse(web.HTTPBadRequest, "bad_request", f"A call may hold {most} images, not {len(prompts)}.")
    rows = zip(prompts, images, sources, strict=True)
    return [_Picture(str(text), {"request": text, "image": image, "sources": of}) for text, image, of in rows]


def _tried(row: dict[str, Any], config: ServeConfig) -> Item | Unscored:
    try:
        return read_item(row, config.max_pixels)
    except RequestError as error:
        return Unscored(reason=error.reason, message=str(error))


def _case(item: Item | Unscored) -> Case | Unscored:
    try:
        return item.case() if isinstance(item, Item) else item
    except RequestError as error:
        return Unscored(reason=error.reason, message=str(error))
