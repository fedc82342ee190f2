"""What the pack's routes read and answer."""

from __future__ import annotations

from aiohttp import web


async def whole_body(request: web.Request, limit: int) -> bytes | None:
    """All of a request's body, in however many pieces it arrives; None if it is longer than `limit` bytes."""
    body = b""
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > limit:
            return None
    return body


def refusal(status: int, sentence: str) -> web.Response:
    """{"error": sentence}."""
    return web.json_response({"error": sentence}, status=status)
