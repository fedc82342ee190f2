"""The loops' routes: ask one to stop after this iteration, read the last states after a page reload (`choice`, `pause` and `picture_route` have their own).

A run is named by its prompt and its node, a page's own loops by its workflow: other workflows, and other people's, have
the same node ids. These routes, and those of preferences, are registered on ComfyUI's own application, so its origin
check covers them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from ..http import refusal, whole_body
from ..models.downloads import add_download_routes
from ..preferences.routes import PreferenceRoutes
from ..show.origin import workflow_of
from .board import BOARD, LoopBoard
from .choice import HAND_ON_PATH, LoopChoices
from .ends import CLOSE_CLASS
from .pause import ANSWER_PATH, answer_pause
from .picture_route import PICTURE_PATH, LoopPictures

STOP_PATH = "/rationalrewards/loop/stop"
LOOPS_PATH = "/rationalrewards/loops"
BODY_LIMIT = 4096
"""Bytes of a stop request that are read; its two ids need a hundred."""
_ID = re.compile(r"[0-9A-Za-z_.:-]{1,200}", re.ASCII)


@dataclass(frozen=True)
class Running:
    """A prompt that is being executed."""

    prompt_id: str
    prompt: dict[str, Any]
    """In API form, as it was submitted."""
    workflow: str | None
    """Id of the workflow that it came from."""


class LoopRoutes:
    """The handlers; they know the board and can ask what is running."""

    def __init__(
        self,
        board: LoopBoard,
        running: Callable[[], Iterable[Running]],
        workflow_of: Callable[[str], str | None],
    ) -> None:
        """`workflow_of` gives the workflow that a prompt came from, also of one that is over."""
        self._board = board
        self._running = running
        self._workflow_of = workflow_of

    async def stop(self, request: web.Request) -> web.Response:
        """POST {"prompt_id": id, "node": id} -> {"stopping": true}; 400, 404 or 413 with {"error": sentence}."""
        body = await whole_body(request, BODY_LIMIT)
        if body is None:
            return refusal(413, f"A stop request is at most {BODY_LIMIT} bytes.")
        try:
            wish = json.loads(body)
        except (ValueError, RecursionError):
            wish = None
        run = tuple(wish.get(name) for name in ("prompt_id", "node")) if isinstance(wish, dict) else ()
        if not run or not all(isinstance(name, str) and _ID.fullmatch(name) for name in run):
            return refusal(
                400,
                'Send the ids of the prompt and of its Loop Until Score node, such as {"prompt_id": "0f3a", "node": "12"}.',
            )
        prompt_id, node = run
        if not any(self._runs(prompt, node) for prompt in self._running() if prompt.prompt_id == prompt_id):
            return refusal(404, "No such loop is running.")
        self._board.ask_to_stop(prompt_id, node)
        return web.json_response({"stopping": True})

    async def loops(self, request: web.Request) -> web.Response:
        """GET ?workflow= or ?prompt_id= -> {"workflow": id or null, "loops": [state, ...]}; 400 with {"error": sentence}.

        Of a workflow the last state of each loop, of a prompt all of its loops; also those that have begun and have no
        image yet.
        """
        workflow, prompt_id = (request.query.get(name) for name in ("workflow", "prompt_id"))
        if not all(name is None or _ID.fullmatch(name) for name in (workflow, prompt_id)):
            return refusal(400, "That is not the id of a workflow or a prompt.")
        if (workflow is None) == (prompt_id is None):
            return refusal(400, "Say either which workflow or which prompt.")
        running = list(self._running())
        if prompt_id is not None:
            workflow, states = self._workflow_of(prompt_id), self._board.of_prompt(prompt_id)
            running_here = [prompt for prompt in running if prompt.prompt_id == prompt_id]
        else:
            states = self._board.of_workflow(str(workflow))
            running_here = [prompt for prompt in running if prompt.workflow == workflow]
        last = {state["node"]: state for state in states}
        for prompt in running_here:
            last.update((node, self._begun(prompt, node)) for node in _loops(prompt.prompt))
        alive = {prompt.prompt_id for prompt in running}
        return web.json_response({"workflow": workflow, "loops": [_settled(state, alive) for state in last.values()]})

    def _begun(self, running: Running, node: str) -> dict[str, Any]:
        """The state of a loop that runs; before its first image there is little to say."""
        state = self._board.of_run(running.prompt_id, node)
        return state if state is not None else waiting_state(running, node)

    def _runs(self, running: Running, node: str) -> bool:
        """Whether `node` is a loop of the prompt, or shows one that another node's expansion made."""
        state = self._board.of_run(running.prompt_id, node)
        return node in _loops(running.prompt) or (state is not None and state["running"])


def waiting_state(running: Running, node: str) -> dict[str, Any]:
    """What can be told of a loop before its first image was judged."""
    from .graph import card_nodes
    from .state import LoopPlace

    close = running.prompt[node]
    numbers = {name: close["inputs"].get(name) for name in ("threshold", "max_iterations")}
    cards = card_nodes(close, lambda name: running.prompt.get(name, {}).get("class_type", ""))
    flow = close["inputs"].get("flow")
    start = flow[0] if isinstance(flow, list) and flow else None
    place = LoopPlace(prompt_id=running.prompt_id, node=node, workflow=running.workflow, start=start, **cards)
    return {
        **place.to_page(),
        "running": True,
        **{name: value if isinstance(value, int | float) else None for name, value in numbers.items()},
        "seed_wired": True,
        "reached": False,
        "stopped": None,
        "ending": None,
        "best": None,
        "overruled": None,
        "waiting": None,
        "iterations": [],
    }


def _loops(prompt: dict[str, Any]) -> list[str]:
    return [node for node, content in prompt.items() if content.get("class_type") == CLOSE_CLASS]


def _settled(state: dict[str, Any], alive: set[str]) -> dict[str, Any]:
    """Of a prompt that ended without the loop's last word there was an interrupt, or an error in the body."""
    if state["running"] and state["prompt_id"] not in alive:
        return {**state, "running": False, "stopped": "interrupted"}
    return state


def add_routes() -> bool:
    """Register the pack's routes with the running ComfyUI; False if another copy of the pack has done so.

    Without a server (a tool that only lists nodes) there is nothing to register.
    """
    from server import PromptServer

    server = getattr(PromptServer, "instance", None)
    if server is None:
        return True
    if any(getattr(route, "path", None) == STOP_PATH for route in server.routes):
        return False

    # A queue entry is (number, prompt id, prompt, extra data, ...) in every version since 0.3.
    def running() -> list[Running]:
        return [Running(entry[1], entry[2], queued_from(entry)) for entry in server.prompt_queue.get_current_queue()[0]]

    def queued_from(entry: Any) -> str | None:
        return workflow_of((entry[3] or {}).get("extra_pnginfo"))

    def workflow_of_prompt(prompt_id: str) -> str | None:
        for prompt in running():
            if prompt.prompt_id == prompt_id:
                return prompt.workflow
        over = server.prompt_queue.get_history(prompt_id=prompt_id).get(prompt_id)
        return queued_from(over["prompt"]) if over is not None else None

    routes = LoopRoutes(BOARD, running, workflow_of_prompt)
    server.routes.post(STOP_PATH)(routes.stop)
    server.routes.get(LOOPS_PATH)(routes.loops)
    server.routes.post(HAND_ON_PATH)(LoopChoices(BOARD).hand_on)
    server.routes.post(ANSWER_PATH)(answer_pause)
    server.routes.get(PICTURE_PATH)(LoopPictures(BOARD).picture)
    PreferenceRoutes().add_to(server.routes)
    add_download_routes(server.routes)
    return True
