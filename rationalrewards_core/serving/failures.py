"""What a server tells its callers of a failure: one sentence, and nothing of the machine that it runs on.

Folders, addresses and the words of other packages stay in the log.
"""

from __future__ import annotations

import logging
from typing import Final

from aiohttp import web

from ..critique import Unscored

log = logging.getLogger("rationalrewards.server")

FAILED: Final = "The server failed on this call; its log says why."
_OWN_FAULTS: Final = {
    "load_failed": "The server's judge could not be loaded; the server's log says why.",
    "engine_failed": "The server's judge failed on this image; the server's log says why.",
    "out_of_memory": "The server's judge ran out of memory; send a smaller image, or see the server's log.",
}
"""Reasons whose messages are about the server's own machine -> what the caller is told."""
_TURNED_AWAY: Final = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


def public_message(outcome: Unscored) -> str:
    """The message of an outcome, as a caller may read it."""
    if outcome.reason not in _OWN_FAULTS:
        return outcome.message
    log.error("%s: %s", outcome.reason, outcome.message)
    return _OWN_FAULTS[outcome.reason]


def refusal_words(refusal: web.HTTPException, most_bytes: int) -> tuple[str, str]:
    """A call that aiohttp itself turned away, as a reason and a sentence in our words."""
    limit = f" (at most {most_bytes} bytes)" if refusal.status == 413 else ""
    return _TURNED_AWAY.get(refusal.status, "refused"), f"{refusal.reason}{limit}."
