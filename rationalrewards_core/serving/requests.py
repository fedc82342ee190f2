"""What callers of the reward server send: read with suspicion, refused in one sentence.

What is wrong with a call is an HTTP 4xx (`refuse`); what is wrong with one item is a `RequestError`,
which a batch keeps to that item.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError, TransferEncodingError
from PIL import Image
from yarl import URL

from ..errors import RequestError
from ..images import image_header, open_image
from ..judged import Case
from ..messages import UserRequest
from ..replies.parsing import Mode
from .config import LOOPBACK, ServeConfig

ITEM_FIELDS = frozenset({"request", "image", "sources"})
MAX_SOURCES = 8
_KINDS = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "true or false", type(None): "null"}
"""What JSON's other values are called."""


def error_json(reason: str, message: str) -> dict[str, Any]:
    return {"error": {"reason": reason, "message": message}}


def refuse(kind: type[web.HTTPError], reason: str, message: str, headers: dict[str, str] | None = None) -> NoReturn:
    raise kind(text=json.dumps(error_json(reason, message)), content_type="application/json", headers=headers)


def check_token(request: web.Request, token: str | None) -> None:
    """Refuse with 401 unless the call carries the token; the comparison takes the same time for every guess."""
    if token is None:
        return
    scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
    # A header may hold any bytes; aiohttp keeps those that are not UTF-8 as surrogates.
    matches = hmac.compare_digest(credential.strip().encode("utf-8", "surrogateescape"), token.encode())
    if scheme.lower() != "bearer" or not matches:
        refuse(
            web.HTTPUnauthorized,
            "unauthorized",
            "Send the server's token as 'Authorization: Bearer TOKEN'.",
            {"WWW-Authenticate": "Bearer"},
        )


def check_site(request: web.Request, config: ServeConfig) -> None:
    """Refuse with 403 what a web page of another site makes a browser send: whoever is on this machine is not asked.

    A browser names the page's site in `Origin`. A page whose name was pointed at this machine afterwards shows in `Host`.
    """
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2].casefold() != request.host.casefold():
        refuse(web.HTTPForbidden, "cross_site", "Calls from web pages of another site are not answered.")
    if config.token is None and config.host in LOOPBACK and _host_name(request.host) not in LOOPBACK:
        refuse(
            web.HTTPForbidden,
            "cross_site",
            f"Without a token this server answers under {', '.join(LOOPBACK)} only, not under another name.",
        )


def _host_name(host: str) -> str | None:
    """A Host header without its port; None for what is no name."""
    try:
        return URL(f"http://{host}").host
    except ValueError:
        return None


def body_size(request: web.Request, most: int) -> int:
    """Bytes that a body may take up: what is announced, or `most` where that says nothing. 413 for more than `most`."""
    if request.content_length is not None and request.content_length > most:
        raise web.HTTPRequestEntityTooLarge(most, request.content_length)
    packed = "Content-Encoding" in request.headers
    return most if packed or request.content_length is None else request.content_length


async def read_object(request: web.Request, fields: frozenset[str] | None, config: ServeConfig) -> dict[str, Any]:
    """The body as a JSON object with no fields that are not `fields`; None lets all pass."""
    if request.content_type != "application/json":
        refuse(web.HTTPUnsupportedMediaType, "content_type", "Send the body as 'Content-Type: application/json'.")
    try:
        content = await asyncio.wait_for(_body(request, config.max_body_bytes), config.body_seconds)
    except asyncio.TimeoutError:
        refuse(web.HTTPRequestTimeout, "body_timeout", f"The body did not arrive within {config.body_seconds:g} s.")
    except (web.RequestPayloadError, ContentEncodingError, TransferEncodingError):
        # aiohttp ends the connection after such a body; a caller that is not told would send its next call there.
        closing = {"Connection": "close"}
        refuse(web.HTTPBadRequest, "bad_request", "The body is not packed as its headers say.", closing)
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        refuse(web.HTTPBadRequest, "bad_request", "The body is not valid JSON.")
    if not isinstance(body, dict):
        refuse(web.HTTPBadRequest, "bad_request", "The body must be a JSON object.")
    try:
        only_known(body, body.keys() if fields is None else fields)
    except RequestError as error:
        refuse(web.HTTPBadRequest, error.reason, str(error))
    return body


async def _body(request: web.Request, most: int) -> bytes:
    """The body unpacked. `request.read()` would keep a second copy until the call is answered."""
    content = bytearray()
    async for part in request.content.iter_any():
        content += part
        if len(content) > most:
            raise web.HTTPRequestEntityTooLarge(most, len(content))
    return bytes(content)


def only_known(table: dict[str, Any], fields: Collection[str]) -> None:
    for key in table:
        if key not in fields:
            short_key = key if len(key) <= 40 else key[:40] + "…"
            raise RequestError(f"unknown field {short_key!r}; known fields are {', '.join(sorted(fields))}.")


def mode_of(body: dict[str, Any]) -> Mode:
    mode = body.get("mode", "critique")
    if mode not in ("critique", "score"):
        refuse(web.HTTPBadRequest, "bad_request", "mode must be 'critique' or 'score'.")
    return mode  # type: ignore[no-any-return]


def rows_of(body: dict[str, Any], most: int) -> list[Any]:
    """The entries of a batch, whatever they are: what is wrong with one is that one's own failure."""
    rows = body.get("items")
    if not isinstance(rows, list):
        refuse(web.HTTPBadRequest, "bad_request", "items must be a list of objects.")
    if not 1 <= len(rows) <= most:
        refuse(web.HTTPBadRequest, "bad_request", f"items must hold 1 to {most} entries, not {len(rows)}.")
    return rows


@dataclass(frozen=True)
class Item:
    """What is to be judged, its images still packed."""

    text: str
    image: bytes
    sources: tuple[bytes, ...]
    pixels: int
    """Of all images together."""
    max_pixels: int

    def case(self) -> Case:
        """The images decoded. RequestError if one is damaged; slow for large images, so call it in a thread."""
        sources = (self._open(content, f"sources[{i}]") for i, content in enumerate(self.sources))
        return Case(UserRequest(self.text, tuple(sources)), self._open(self.image, "image"))

    def _open(self, content: bytes, name: str) -> Image.Image:
        with _naming(name):
            return open_image(content, self.max_pixels)


def read_item(row: Any, max_pixels: int) -> Item:
    """One item of a body. RequestError for what cannot be judged; unpacks base64, so call it in a thread."""
    if not isinstance(row, dict):
        raise RequestError(f"an entry of items must be an object with request and image, not {_KINDS[type(row)]}.")
    only_known(row, ITEM_FIELDS)
    text, sources = row.get("request"), row.get("sources")
    if not isinstance(text, str):
        raise RequestError("request must be a text.")
    if sources is None:
        sources = []
    if not isinstance(sources, list) or len(sources) > MAX_SOURCES:
        raise RequestError(f"sources must be a list of at most {MAX_SOURCES} images.")
    UserRequest(text)  # a request that cannot be judged is refused before its images are decoded
    pictures = [*((f"sources[{i}]", value) for i, value in enumerate(sources)), ("image", row.get("image"))]
    contents = [_unpacked(value, name) for name, value in pictures]
    pixels = 0
    for (name, _), content in zip(pictures, contents, strict=True):
        with _naming(name):
            width, height = image_header(content, max_pixels)[1]
        pixels += width * height
    return Item(text, contents[-1], tuple(contents[:-1]), pixels, max_pixels)


def _unpacked(value: Any, name: str) -> bytes:
    if not isinstance(value, str) or not value:
        raise RequestError(f"{name} must be a base64 text.")
    encoded = value.partition(",")[2] if value.startswith("data:") else value
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(f"{name} is not valid base64.") from error


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Says which of an item's images is meant."""
    try:
        yield
    except RequestError as error:
        raise RequestError(f"{name}: {error}") from error
