"""What callers of the reward server send: read with suspicion, refused in one sentence.

What is wrong with a call is an HTTP 4xx (`refuse`); what is wrong with one item is a `RequestError`,
which a batch keeps to that item.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from typing import Any, NoReturn

from aiohttp import web
from PIL import Image

from .errors import RequestError
from .images import open_image
from .messages import UserRequest
from .parsing import Mode
from .scorer import Case

ITEM_FIELDS = frozenset({"request", "image", "sources"})
MAX_SOURCES = 8


def error_json(reason: str, message: str) -> dict[str, Any]:
    return {"error": {"reason": reason, "message": message}}


def refuse(kind: type[web.HTTPError], reason: str, message: str, headers: dict[str, str] | None = None) -> NoReturn:
    raise kind(text=json.dumps(error_json(reason, message)), content_type="application/json", headers=headers)


def check_token(request: web.Request, token: str | None) -> None:
    """Refuse with 401 unless the call carries the token; the comparison takes the same time for every guess."""
    if token is None:
        return
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    # A header may hold any bytes; aiohttp keeps those that are not UTF-8 as surrogates.
    matches = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), token.encode())
    if scheme.lower() != "bearer" or not matches:
        refuse(
            web.HTTPUnauthorized,
            "unauthorized",
            "Send the server's token as 'Authorization: Bearer TOKEN'.",
            {"WWW-Authenticate": "Bearer"},
        )


async def read_object(request: web.Request, known: frozenset[str]) -> dict[str, Any]:
    """The body as a JSON object with no unknown fields."""
    content = await request.read()
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        refuse(web.HTTPBadRequest, "bad_request", "The body is not valid JSON.")
    if not isinstance(body, dict):
        refuse(web.HTTPBadRequest, "bad_request", "The body must be a JSON object.")
    try:
        only_known(body, known)
    except RequestError as error:
        refuse(web.HTTPBadRequest, error.reason, str(error))
    return body


def only_known(table: dict[str, Any], known: frozenset[str]) -> None:
    for key in table:
        if key not in known:
            shown = key if len(key) <= 40 else key[:40] + "…"
            raise RequestError(f"unknown field {shown!r}; known fields are {', '.join(sorted(known))}.")


def mode_of(body: dict[str, Any]) -> Mode:
    mode = body.get("mode", "critique")
    if mode not in ("critique", "score"):
        refuse(web.HTTPBadRequest, "bad_request", "mode must be 'critique' or 'score'.")
    return mode  # type: ignore[no-any-return]


def rows_of(body: dict[str, Any], most: int) -> list[dict[str, Any]]:
    """The items of a batch."""
    rows = body.get("items")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        refuse(web.HTTPBadRequest, "bad_request", "items must be a list of objects.")
    if not 1 <= len(rows) <= most:
        refuse(web.HTTPBadRequest, "bad_request", f"items must hold 1 to {most} entries, not {len(rows)}.")
    return rows


def read_case(row: dict[str, Any], max_pixels: int) -> Case:
    """One item with its images decoded; slow for large images, so call it in a thread."""
    only_known(row, ITEM_FIELDS)
    text, sources = row.get("request"), row.get("sources")
    if not isinstance(text, str):
        raise RequestError("request must be a text.")
    if sources is None:
        sources = []
    if not isinstance(sources, list) or len(sources) > MAX_SOURCES:
        raise RequestError(f"sources must be a list of at most {MAX_SOURCES} images.")
    UserRequest(text)  # a request that cannot be judged is refused before its images are decoded
    opened = tuple(_image(value, f"sources[{i}]", max_pixels) for i, value in enumerate(sources))
    return Case(UserRequest(text, opened), _image(row.get("image"), "image", max_pixels))


def _image(value: Any, name: str, max_pixels: int) -> Image.Image:
    if not isinstance(value, str) or not value:
        raise RequestError(f"{name} must be a base64 text.")
    encoded = value.partition(",")[2] if value.startswith("data:") else value
    try:
        content = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(f"{name} is not valid base64.") from error
    try:
        return open_image(content, max_pixels)
    except RequestError as error:
        raise RequestError(f"{name}: {error}") from error
