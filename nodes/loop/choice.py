"""Hand on this one: a person overrules the judge, and the next run hands on another iteration without making anything."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

from ...rationalrewards_core.errors import RationalRewardsError
from ..http import refusal, whole_body
from ..preferences.users import user_of_request
from .board import LoopBoard

HAND_ON_PATH = "/rationalrewards/loop/hand_on"
BODY_LIMIT = 4096
"""Bytes that are read; what is asked needs two hundred."""
ASK = 'Send a run and one of its iterations, such as {"prompt_id": "0f3a", "node": "12", "iteration": 2}.'
UNKNOWN = (
    "This iteration cannot be handed on: it is not kept, because a node of the loop asks to run every time, or because "
    "the body holds another loop."
)


class LoopChoices:
    """The handler; it knows the board."""

    def __init__(self, board: LoopBoard) -> None:
        self._board = board

    async def hand_on(self, request: web.Request) -> web.Response:
        """POST {"prompt_id": id, "node": id, "iteration": number from 0, or null for the best one again, "dataset": name}.

        -> {"iteration": number or null, "preferred": whether it was written to the data set}; 400, 404, 409 or 413 with
        {"error": sentence}. `dataset` may be left out: then nothing but the next run changes.
        """
        body = await whole_body(request, BODY_LIMIT)
        if body is None:
            return refusal(413, f"Such a request is at most {BODY_LIMIT} bytes.")
        order = _order_of(body)
        if order is None:
            return refusal(400, ASK)
        state = self._board.of_run(order["prompt_id"], order["node"])
        if state is None:
            return refusal(404, "This run is over and forgotten: queue the workflow again.")
        index, rows = order["iteration"], state["iterations"]
        if index is not None and not 0 <= index < len(rows):
            return refusal(400, f"The run has {len(rows)} iterations, counted from 0.")
        if index is not None and rows[index]["kept"] is None:
            return refusal(409, UNKNOWN)
        self._board.overrule(state["workflow"], state["node"], None if index is None else rows[index]["kept"])
        preferred = False
        if index is not None and order["dataset"] is not None:
            try:
                user = user_of_request(request)
                preferred = await asyncio.to_thread(_prefer, order["dataset"], user, state, index)
            except RationalRewardsError as error:
                return refusal(409, f"It will be handed on, but is no preference: {error}")
        return web.json_response({"iteration": index, "preferred": preferred})


def _order_of(body: bytes) -> dict[str, Any] | None:
    try:
        order = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(order, dict):
        return None
    names = [order.get(name) for name in ("prompt_id", "node")]
    number, dataset = order.get("iteration"), order.get("dataset")
    sound = all(isinstance(name, str) for name in names) and isinstance(dataset, str | None)
    return {**order, "iteration": number, "dataset": dataset} if sound and type(number) in (int, type(None)) else None


def _prefer(dataset: str, user: str | None, state: dict[str, Any], index: int) -> bool:
    """Write that this iteration is preferred to the judge's best; False if it is the best, or one is no longer kept."""
    from ...rationalrewards_core.messages import UserRequest
    from ..preferences.store import preference_store
    from ..tensors import sound_pictures
    from .run import held_image

    best, rows = state["best"], state["iterations"]
    if best is None or best == index or rows[best]["kept"] is None:
        return False
    pictures = [sound_pictures(held_image(rows[each]["kept"]))[0] for each in (index, best)]
    rewards = [rows[each]["reward"] for each in (index, best)]
    store = preference_store(dataset, user)
    question = store.ask(UserRequest(rows[0]["prompt"]), pictures, None, rewards)
    store.answer(question.key, 0)
    return True
