"""What the page may ask of preferences: see a question, answer it, take an answer back, export.

A client names a data set, a question and an answer, never a file. The store is imported with the first question, not
when ComfyUI starts.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeGuard

from aiohttp import web

from ..rationalrewards_core.errors import ConfigError, StorageError
from .http import refusal, whole_body

if TYPE_CHECKING:
    from .preference_store import Book, Choice, PreferenceStore

PATH = "/rationalrewards/preferences/{dataset}"
BODY_LIMIT = 4096
"""Bytes of a request that are read; an answer needs a hundred."""
_KEY = re.compile(r"[0-9a-f]{16}", re.ASCII)


class PreferenceRoutes:
    """The handlers. Files are read and written in a thread, so that the server goes on meanwhile."""

    async def state(self, request: web.Request) -> web.Response:
        """GET -> `view` of ?question= if it waits, of the one waiting after it or ?after=, or of the first one waiting."""
        shown, after = request.query.get("question"), request.query.get("after")
        if any(key is not None and not _KEY.fullmatch(key) for key in (shown, after)):
            return refusal(400, "That is not the key of a question.")
        return await _answered(request, lambda store: view(store, shown=shown, after=after, waiting=True))

    async def pick(self, request: web.Request) -> web.Response:
        """POST {"question": key, "choice": place from 0, "tie" or "bad"} -> `view` of the next question."""
        asked = await _body(request)
        question, choice = asked.get("question"), asked.get("choice")
        if not isinstance(question, str) or not _KEY.fullmatch(question) or not _is_choice(choice):
            return refusal(400, 'Send an answer such as {"question": "0123456789abcdef", "choice": 0}.')

        def answer(store: PreferenceStore) -> dict[str, Any]:
            store.answer(question, choice)
            return view(store, after=question)

        return await _answered(request, answer)

    async def undo(self, request: web.Request) -> web.Response:
        """POST {"answer": key} -> `view` of the question that waits again."""
        taken = (await _body(request)).get("answer")
        if not isinstance(taken, str) or not _KEY.fullmatch(taken):
            return refusal(400, 'Send the key of an answer, such as {"answer": "0123456789abcdef"}.')
        return await _answered(request, lambda store: view(store, shown=store.undo(taken)))

    async def export(self, request: web.Request) -> web.Response:
        """POST -> {"pairs": number, "folder": below the output folder}."""
        from .preference_export import EXPORT, export
        from .preference_store import SUBFOLDER

        def written(store: PreferenceStore) -> dict[str, Any]:
            return {"pairs": export(store), "folder": "/".join((*SUBFOLDER, store.name, EXPORT))}

        return await _answered(request, written)

    def add_to(self, routes: web.RouteTableDef) -> None:
        routes.get(PATH)(self.state)
        routes.post(f"{PATH}/pick")(self.pick)
        routes.post(f"{PATH}/undo")(self.undo)
        routes.post(f"{PATH}/export")(self.export)


def view(
    store: PreferenceStore, *, shown: str | None = None, after: str | None = None, waiting: bool = False
) -> dict[str, Any]:
    """A question as the page shows it, what is known of it, and the tally.

    `shown` names the question; with `waiting` it gives way, once answered, to one that waits.
    """
    from .preference_export import tally

    book = store.book()
    known = shown in book.questions and not (waiting and shown in book.choices)
    key = shown if known else book.next_after(shown or after)
    return {
        "dataset": store.name,
        "question": None if key is None else _question(store.name, book, key),
        "undo": None if book.last is None else book.last.key,
        **asdict(tally(book)),
    }


def _question(name: str, book: Book, key: str) -> dict[str, Any]:
    question = book.questions[key]
    return {
        "key": key,
        "request": question.request,
        "images": [_address(name, place) for place in question.candidates],
        "sources": [_address(name, place) for place in question.sources],
        "choice": book.choices.get(key),
    }


def _address(name: str, place: str) -> dict[str, str]:
    """What the frontend's /view route is asked for."""
    from .preference_store import SUBFOLDER

    folder, _, file = place.rpartition("/")
    return {"filename": file, "subfolder": "/".join((*SUBFOLDER, name, folder)), "type": "output"}


def _is_choice(choice: Any) -> TypeGuard[Choice]:
    return choice in ("tie", "bad") if isinstance(choice, str) else type(choice) is int


async def _answered(request: web.Request, act: Callable[[PreferenceStore], dict[str, Any]]) -> web.Response:
    """Act on the data set that the request names; every failure is an {"error": sentence}."""
    from .preference_store import known_store

    try:
        store = known_store(request.match_info["dataset"])
    except ConfigError as error:
        return refusal(400, str(error))
    if store is None:
        return refusal(404, "Nothing was asked in this data set yet; queue the graph.")
    try:
        return web.json_response(await asyncio.to_thread(act, store))
    except ConfigError as error:
        return refusal(409, str(error))
    except StorageError as error:
        return refusal(507, str(error))
    except OSError as error:
        return refusal(507, f"The disk refused it: {error.strerror}.")


async def _body(request: web.Request) -> dict[str, Any]:
    """The JSON object that was sent; empty if it is none, or too large to be one of ours."""
    body = await whole_body(request, BODY_LIMIT)
    try:
        asked: Any = None if body is None else json.loads(body)
    except (ValueError, RecursionError):
        asked = None
    return asked if isinstance(asked, dict) else {}
