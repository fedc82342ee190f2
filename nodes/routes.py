"""The loop's two routes: ask it to stop after this iteration, and read its last state after a page reload.

These, and those of preferences, are registered on ComfyUI's own application, so its origin check covers them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web

from .loop_board import BOARD, LoopBoard
from .loop_ends import CLOSE_CLASS
from .preference_routes import PreferenceRoutes

STOP_PATH = "/rationalrewards/loop/stop"
STATE_PATH = "/rationalrewards/loop/{node}"
BODY_LIMIT = 4096
"""Bytes of a stop request that are read; a node id needs a hundred."""
_NODE_ID = re.compile(r"[0-9A-Za-z_.:-]{1,200}", re.ASCII)

RunningPrompts = Callable[[], Iterable[tuple[str, dict[str, Any]]]]
"""Gives (prompt id, prompt in API form) of what is being executed."""


class LoopRoutes:
    """The handlers; they know the board and can ask what is running."""

    def __init__(self, board: LoopBoard, running: RunningPrompts) -> None:
        self._board = board
        self._running = running

    async def stop(self, request: web.Request) -> web.Response:
        """POST {"node": id} -> {"stopping": true}; 400, 404 or 413 with {"error": sentence}."""
        body = await request.content.read(BODY_LIMIT + 1)
        if len(body) > BODY_LIMIT:
            return _error(413, f"A stop request is at most {BODY_LIMIT} bytes.")
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            return _error(400, 'Send a JSON object such as {"node": "12"}.')
        node = asked.get("node") if isinstance(asked, dict) else None
        if not isinstance(node, str) or not _NODE_ID.fullmatch(node):
            return _error(400, 'Send the id of a Loop Until Score node as text, such as {"node": "12"}.')
        prompts = self._prompts_with(node)
        if not prompts:
            return _error(404, "No such loop is running.")
        for prompt_id in prompts:
            self._board.ask_to_stop(prompt_id, node)
        return web.json_response({"stopping": True})

    async def state(self, request: web.Request) -> web.Response:
        """GET -> the loop's last state; 400 or 404 with {"error": sentence}."""
        node = request.match_info["node"]
        if not _NODE_ID.fullmatch(node):
            return _error(400, "That is not the id of a node.")
        state = self._board.last(node)
        if state is None:
            return _error(404, "This loop has not run since ComfyUI was started.")
        if state["running"] and state["prompt_id"] not in {prompt_id for prompt_id, _ in self._running()}:
            # Its prompt ended without the loop's last word: an interrupt, or an error in the body.
            state = {**state, "running": False, "stopped": "interrupted"}
        return web.json_response(state)

    def _prompts_with(self, node: str) -> list[str]:
        """Ids of the running prompts in which `node` is a loop, or shows one that another node's expansion made."""
        last = self._board.last(node)
        shown = last["prompt_id"] if last is not None and last["running"] else None
        return [
            prompt_id
            for prompt_id, prompt in self._running()
            if prompt_id == shown or prompt.get(node, {}).get("class_type") == CLOSE_CLASS
        ]


def _error(status: int, sentence: str) -> web.Response:
    return web.json_response({"error": sentence}, status=status)


def add_routes() -> None:
    """Register the pack's routes with the running ComfyUI, once; without a server (a tool that only lists nodes) nothing."""
    from server import PromptServer

    server = getattr(PromptServer, "instance", None)
    if server is None or any(getattr(route, "path", None) == STOP_PATH for route in server.routes):
        return

    def running() -> list[tuple[str, dict[str, Any]]]:
        # A queue entry is (number, prompt id, prompt, ...) in every version since 0.3.
        return [(entry[1], entry[2]) for entry in server.prompt_queue.get_current_queue()[0]]

    routes = LoopRoutes(BOARD, running)
    server.routes.post(STOP_PATH)(routes.stop)
    server.routes.get(STATE_PATH)(routes.state)
    PreferenceRoutes().add_to(server.routes)
