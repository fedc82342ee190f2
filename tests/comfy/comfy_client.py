"""Runs prompts in API form on a server over its websocket, and collects what happened."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

Prompt = dict[str, dict[str, Any]]
RUN_SECONDS = 400
"""A run that takes a second on a quiet machine has taken two minutes on a crowded one."""


@dataclass
class Run:
    """One prompt that ran to its end."""

    prompt_id: str
    ran: list[str] = field(default_factory=list)
    """Ids of the nodes that were executed, in order; cached ones are not among them."""
    shown: list[str] = field(default_factory=list)
    """The visible node of each of `ran`."""
    cached: set[str] = field(default_factory=set)
    """Nodes of the prompt that the cache answered."""
    executed: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """(visible node, its ui output) in order, cached ones included."""
    loops: list[dict[str, Any]] = field(default_factory=list)
    """Live states of `rationalrewards.loop`."""
    told: int = 0
    """Bytes of the events that these came in."""
    outputs: dict[str, Any] = field(default_factory=dict)
    """The history's outputs by node id, copies included."""
    status: str = ""
    """`success` or `error`."""
    error: str = ""
    error_type: str = ""
    """Full name of the exception's class."""
    interrupted: bool = False

    def take(self, event: dict[str, Any]) -> None:
        """A state is an event's head and all rows that came until then."""
        self.told += len(json.dumps(event))
        row = event.pop("row")
        before = [state for state in self.loops if state["node"] == event["node"] and row["index"]]
        self.loops.append({**event, "iterations": [*(before[-1]["iterations"] if before else []), row]})

    def times(self, node: str) -> int:
        """How often a visible node was executed, in all its copies."""
        return Counter(self.shown)[node]

    def text(self, node: str) -> Any:
        """What a PreviewAny showed."""
        return self.outputs[node]["text"][0]

    def ui(self, node: str, key: str) -> list[Any]:
        """All entries that a visible node showed under `key`, in order."""
        return [entry for shown, output in self.executed if shown == node for entry in (output or {}).get(key, [])]


class Refused(Exception):
    """The server did not accept the prompt; `str` is its whole answer."""


During = Callable[["Client", Run, str, dict[str, Any]], Awaitable[None]]
"""Called with every event of the run: (client, run so far, type, data)."""


class Client:
    """Speaks to one server."""

    def __init__(self, address: str, user: str | None = None) -> None:
        """`user` is the one whose page this is, where the server has several."""
        self.address, self.client_id = address, uuid.uuid4().hex
        self._headers = {} if user is None else {"comfy-user": user}
        self._session: aiohttp.ClientSession | None = None

    def run(self, prompt: Prompt, during: During | None = None, extra: dict[str, Any] | None = None) -> Run:
        """Run to the end. Refused if the prompt is not valid; a failing node is in the run's `error`.

        `extra` is what a page sends along: the workflow, below `extra_pnginfo`.
        """
        return asyncio.run(asyncio.wait_for(self._run(prompt, during, extra or {}), RUN_SECONDS))

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        return asyncio.run(self._alone("POST", path, body))

    def get(self, path: str) -> tuple[int, Any]:
        return asyncio.run(self._alone("GET", path, None))

    async def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Inside a run."""
        assert self._session is not None
        async with self._session.request(method, self.address + path, json=body) as answer:
            if answer.content_type == "application/json":
                return answer.status, await answer.json()
            return answer.status, await answer.read()

    async def _alone(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        async with aiohttp.ClientSession(headers=self._headers) as self._session:
            return await self.request(method, path, body)

    async def _run(self, prompt: Prompt, during: During | None, extra: dict[str, Any]) -> Run:
        client_id = self.client_id if self._headers else uuid.uuid4().hex
        url = f"{self.address}/ws?clientId={client_id}"
        async with aiohttp.ClientSession(headers=self._headers) as self._session:
            async with self._session.ws_connect(url, max_msg_size=0) as events:
                queued = {"prompt": prompt, "client_id": client_id, "extra_data": extra}
                status, answer = await self.request("POST", "/prompt", queued)
                if status != 200:
                    raise Refused(str(answer))
                run = Run(answer["prompt_id"])
                try:
                    await self._follow(run, events, during)
                except BaseException:  # a loop that waits for a person would hold up every test after this one
                    await self.request("POST", "/interrupt", {"prompt_id": run.prompt_id})
                    raise
            await self._read_history(run)
        return run

    async def _follow(self, run: Run, events: aiohttp.ClientWebSocketResponse, during: During | None) -> None:
        async for event in events:
            if event.type == aiohttp.WSMsgType.TEXT and await self._over(run, event.json(), during):
                return

    async def _over(self, run: Run, event: dict[str, Any], during: During | None) -> bool:
        kind, content = event["type"], event.get("data", {})
        if content.get("prompt_id") != run.prompt_id:
            return False
        if kind == "executing" and content["node"] is not None:
            run.ran.append(content["node"])
            run.shown.append(content["display_node"])
        elif kind == "execution_cached":
            run.cached |= set(content["nodes"])
        elif kind == "executed":
            run.executed.append((content["display_node"], content["output"]))
        elif kind == "rationalrewards.loop":
            run.take(content)
        elif kind == "execution_error":
            run.error, run.error_type = content["exception_message"].strip(), content["exception_type"]
        elif kind == "execution_interrupted":
            run.interrupted = True
        if during is not None:
            await during(self, run, kind, content)
        return kind == "executing" and content["node"] is None

    async def _read_history(self, run: Run) -> None:
        """The history is written a moment after the last event."""
        for _ in range(100):
            _, history = await self.request("GET", f"/history/{run.prompt_id}")
            if run.prompt_id in history:
                run.outputs = history[run.prompt_id]["outputs"]
                run.status = history[run.prompt_id]["status"]["status_str"]
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"prompt {run.prompt_id} never reached the history")
