"""What the page may ask of preferences: see a question, answer it, take an answer back, export.

A client names a data set, a question and an answer, never a file; where ComfyUI has several users, its data sets are
those of the user that its requests name. The store is imported with the first question, not
when ComfyUI starts.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeGuard

from aiohttp import web

from ...rationalrewards_core.errors import ConfigError, StorageError
from ..http import refusal, whole_body
from .users import CLIENT_USERS, user_of_request

if TYPE_CHECKING:
    from .store import Book, Choice, PreferenceStore

log = logging.getLogger("rationalrewards.preferences")

PATH = "/rationalrewards/preferences/{dataset}"
CLIENT_PATH = "/rationalrewards/client"
BODY_LIMIT = 4096
"""Bytes of a request that are read; an answer needs a hundred."""
_CLIENT = re.compile(r"[0-9A-Za-z_.:-]{1,200}", re.ASCII)
_KEY = re.compile(r"[0-9a-f]{16}", re.ASCII)


class PreferenceRoutes:
    """The handlers. Files are read and written in a thread, so that the server goes on meanwhile."""

    async def state(self, request: web.Request) -> web.Response:
        """GET -> `view` of ?question= if it waits, of the one waiting after it or ?after=, or of the first one waiting."""
        current, after = request.query.get("question"), request.query.get("after")
        if any(key is not None and not _KEY.fullmatch(key) for key in (current, after)):
            return refusal(400, "That is not the key of a question.")
        return await _answered(request, lambda store: view(store, question=current, after=after, waiting=True))

    async def pick(self, request: web.Request) -> web.Response:
        """POST {"question": key, "choice": place from 0, "tie" or "bad"} -> `view` of the next question."""
        order = await _body(request)
        question, choice = order.get("question"), order.get("choice")
        if not isinstance(question, str) or not _KEY.fullmatch(question) or not _is_choice(choice):
            return refusal(400, 'Send an answer such as {"question": "0123456789abcdef", "choice": 0}.')

        def answer(store: PreferenceStore) -> dict[str, Any]:
            store.answer(question, choice)
            return view(store, after=question)

        return await _answered(request, answer)

    async def undo(self, request: web.Request) -> web.Response:
        """POST {"answer": key} -> `view` of the question that waits again."""
        answer = (await _body(request)).get("answer")
        if not isinstance(answer, str) or not _KEY.fullmatch(answer):
            return refusal(400, 'Send the key of an answer, such as {"answer": "0123456789abcdef"}.')
        return await _answered(request, lambda store: view(store, question=store.undo(answer)))

    async def export(self, request: web.Request) -> web.Response:
        """POST -> {"pairs": number, "folder": below the output folder}."""
        from .export import EXPORT, export

        def written(store: PreferenceStore) -> dict[str, Any]:
            return {"pairs": export(store), "folder": f"{store.subfolder}/{EXPORT}"}

        return await _answered(request, written)

    async def client(self, request: web.Request) -> web.Response:
        """POST {"client_id": id} -> {"user": whose client it is, or null}: what that client queues asks its user."""
        client = (await _body(request)).get("client_id")
        if not isinstance(client, str) or not _CLIENT.fullmatch(client):
            return refusal(400, 'Send the id of the page\'s client, such as {"client_id": "0f3a"}.')
        try:
            user = user_of_request(request)
        except ConfigError as error:
            return refusal(403, str(error))
        CLIENT_USERS.tell(client, user)
        return web.json_response({"user": user})

    def add_to(self, routes: web.RouteTableDef) -> None:
        routes.post(CLIENT_PATH)(self.client)
        routes.get(PATH)(self.state)
        routes.post(f"{PATH}/pick")(self.pick)
        routes.post(f"{PATH}/undo")(self.undo)
        routes.post(f"{PATH}/export")(self.export)


def view(
    store: PreferenceStore, *, question: str | None = None, after: str | None = None, waiting: bool = False
) -> dict[str, Any]:
    """A question as the page shows it, what is known of it, and the tally.

    `question` is the key of one; with `waiting` it gives way, once answered, to one that waits.
    """
    from .export import tally

    book = store.book()
    still_open = question in book.questions and not (waiting and question in book.choices)
    key = question if still_open else book.next_after(question or after)
    return {
        "dataset": store.name,
        "question": None if key is None else _question(store, book, key),
        "undo": None if book.last is None else book.last.key,
        **asdict(tally(book)),
    }


def _question(store: PreferenceStore, book: Book, key: str) -> dict[str, Any]:
    question = book.questions[key]
    return {
        "key": key,
        "request": question.request,
        "images": [_address(store, place) for place in question.candidates],
        "sources": [_address(store, place) for place in question.sources],
        "choice": book.choices.get(key),
    }


def _address(store: PreferenceStore, place: str) -> dict[str, str]:
    """What the frontend's /view route is asked for."""
    folder, _, file = place.rpartition("/")
    return {"filename": file, "subfolder": f"{store.subfolder}/{folder}", "type": "output"}


def _is_choice(choice: Any) -> TypeGuard[Choice]:
    return choice in ("tie", "bad") if isinstance(choice, str) else type(choice) is int


async def _answered(request: web.Request, act: Callable[[PreferenceStore], dict[str, Any]]) -> web.Response:
    """Act on the data set that the request names, of the user it comes from; every failure is an {"error": sentence}."""
    from .store import known_store

    try:
        user = user_of_request(request)
    except ConfigError as error:
        return refusal(403, str(error))
    try:
        store = known_store(request.match_info["dataset"], user)
    except ConfigError as error:
        return refusal(400, str(error))
    if store is None:
        return refusal(404, "Nothing was asked in this data set yet; queue the graph.")
    try:
        return web.json_response(await asyncio.to_thread(act, store))
    except ConfigError as error:
        return refusal(409, str(error))
    except (StorageError, OSError) as error:
        log.error("%s", error)  # where that is, is nothing for a page
        return refusal(507, f"The server's disk refused it ({_refused(error)}); ComfyUI's log says where.")


def _refused(error: BaseException) -> str:
    """In the operating system's words."""
    cause = error.__cause__ if isinstance(error, StorageError) else error
    return (cause.strerror if isinstance(cause, OSError) else None) or "no reason given"


async def _body(request: web.Request) -> dict[str, Any]:
    """The JSON object that was sent; empty if it is none, or too large to be one of ours."""
    body = await whole_body(request, BODY_LIMIT)
    try:
        table: Any = None if body is None else json.loads(body)
    except (ValueError, RecursionError):
        table = None
    return table if isinstance(table, dict) else {}
