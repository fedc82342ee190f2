"""A judge behind our own reward-server protocol (`rationalrewards serve`, or anything that speaks it).

    rewards.judge = "reward-server:http://10.0.0.5:8288"

The server says which dimensions it judges and what they weigh. An item it could not judge stays `Unscored`; a call that
fails is tried again, and then its items are `Unscored` too.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout

from rationalrewards_core.backends.openai_wire import complaint
from rationalrewards_core.critique import Critique, Unscored, critique_from_json
from rationalrewards_core.errors import BackendError, ConfigError
from rationalrewards_core.images import data_url
from rationalrewards_core.judged import Case, Outcome, ScoreBatch
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.replies.parsing import Mode
from rationalrewards_core.reward import check_scores, reward
from rationalrewards_core.rubric import Dimension, Kind, Rubric, Scale
from rationalrewards_core.rubric_file import edit_rubric, generation_rubric

log = logging.getLogger("rationalrewards.training.nft.remote")


class RemoteJudge:
    """Sends batches of at most `batch` items, at most `together` at once, each tried up to `attempts` times."""

    def __init__(
        self, url: str, *, batch: int = 16, together: int = 4, attempts: int = 4, seconds: float = 600.0
    ) -> None:
        self._url = url.rstrip("/")
        self._batch, self._attempts, self._seconds = batch, attempts, seconds
        self._gate = asyncio.Semaphore(together)
        self._session: ClientSession | None = None
        self._learned = False
        self._rubrics: dict[Kind, Rubric] = {"generation": generation_rubric(), "edit": edit_rubric()}

    async def score_many(self, cases: Sequence[Case], mode: Mode = "critique") -> ScoreBatch:
        """Outcomes in the order of the cases."""
        if self._session is None:
            self._session = ClientSession(timeout=ClientTimeout(total=self._seconds))
        if not self._learned:
            await self._learn_rubrics()
            self._learned = True
        parts = [cases[i : i + self._batch] for i in range(0, len(cases), self._batch)]
        outcomes = await asyncio.gather(*(self._part(part, mode) for part in parts))
        return ScoreBatch(tuple(outcome for part in outcomes for outcome in part))

    def reward(self, critique: Critique, request: UserRequest, *, expected: bool = False) -> float:
        return reward(critique, self.rubric_for(request), expected=expected)

    def rubric_for(self, request: UserRequest) -> Rubric:
        return self._rubrics["edit" if request.sources else "generation"]

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _learn_rubrics(self) -> None:
        kinds: tuple[Kind, ...] = ("generation", "edit")
        table = await self._call("GET", "/v1/rubric", None)
        for kind in kinds:
            if kind in table:
                try:
                    self._rubrics[kind] = _rubric(table[kind], self._rubrics[kind])
                except (ConfigError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                    message = f"The reward server {self._url} has a {kind} rubric that cannot be used: {error}"
                    raise BackendError(message, reason="reward_server") from error

    async def _part(self, cases: Sequence[Case], mode: Mode) -> list[Outcome]:
        async with self._gate:
            items = await asyncio.to_thread(lambda: [_item(case) for case in cases])
            try:
                answer = await self._call("POST", "/v1/critique/batch", {"items": items, "mode": mode})
            except BackendError as error:
                return [Unscored(reason=error.reason, message=str(error)) for _ in cases]
        items = answer.get("items")
        if not isinstance(items, list) or len(items) != len(cases):
            # Which answer belongs to which picture is then unknown.
            count = len(items) if isinstance(items, list) else "no"
            message = f"The reward server {self._url} answered with {count} items for {len(cases)} pictures."
            return [Unscored(reason="reward_server", message=message) for _ in cases]
        return [self._outcome(item, case) for item, case in zip(items, cases, strict=True)]

    def _outcome(self, item: Any, case: Case) -> Outcome:
        """The critique of one picture, checked against the server's own rubric; Unscored if it does not fit."""
        try:
            if item.get("unscored") is not None:
                return Unscored(reason=str(item["unscored"]["reason"]), message=str(item["unscored"]["message"]))
            critique = critique_from_json(item["critique"])
            check_scores(critique, self.rubric_for(case.request))
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            message = f"The reward server {self._url} sent a critique that cannot be used: {error}"
            return Unscored(reason="reward_server", message=message)
        return critique

    async def _call(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """The answer's JSON; BackendError once every attempt has failed or the server has refused the call."""
        assert self._session is not None
        why = ""
        for attempt in range(self._attempts):
            if attempt:
                await asyncio.sleep(min(30.0, 0.5 * 2**attempt))
            try:
                async with self._session.request(method, self._url + path, json=body) as answer:
                    content: Any = await answer.json()
                    if answer.status == 200 and isinstance(content, dict):
                        return content
                    why = f"HTTP {answer.status}: {complaint(json.dumps(content), '')}"
                    if answer.status < 500 and answer.status != 429:
                        break
            except (ClientError, asyncio.TimeoutError, ValueError, RecursionError) as error:
                why = f"{type(error).__name__} {error}".strip()
            log.info("%s%s, attempt %d: %s", self._url, path, attempt + 1, why)
        raise BackendError(f"The reward server {self._url} did not answer {path}: {why}", reason="reward_server")


def _item(case: Case) -> dict[str, Any]:
    sources = [data_url(source) for source in case.request.sources]
    return {"request": case.request.text, "image": data_url(case.candidate), "sources": sources}


def _rubric(table: dict[str, Any], like: Rubric) -> Rubric:
    """The server's dimensions and scale; what a prompt would say about them is the server's own affair."""
    minimum, maximum = table["scale"]
    dimensions = tuple(
        Dimension(key=row["key"], title=row["title"], optional=row["optional"], weight=row["weight"])
        for row in table["dimensions"]
    )
    return replace(like, name=table["name"], scale=Scale(minimum=minimum, maximum=maximum), dimensions=dimensions)
