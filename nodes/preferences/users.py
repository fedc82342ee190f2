"""Whose picks they are: under ComfyUI's `--multi-user` every user has data sets of their own.

A request says which user it comes from, a running prompt only which client (a browser's tab) queued it; so each page
tells once whose client it is. Without `--multi-user`, and for whoever names no user, there is one place for all. Like
ComfyUI's own profiles this keeps people's work apart; it is no lock.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from ...rationalrewards_core.errors import ConfigError

if TYPE_CHECKING:
    from aiohttp import web

HEADER: Final = "comfy-user"
KEPT_CLIENTS: Final = 4096
"""Clients whose user is remembered; the one that was told of longest ago is forgotten first."""
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}", re.ASCII)


class ClientUsers:
    """Client id -> user. Pages tell it in the server's event loop, nodes ask in their own thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users: OrderedDict[str, str | None] = OrderedDict()

    def tell(self, client: str, user: str | None) -> None:
        """The latest word counts: somebody else may have signed in on that page."""
        with self._lock:
            self._users[client] = user
            self._users.move_to_end(client)
            while len(self._users) > KEPT_CLIENTS:
                self._users.popitem(last=False)

    def user_of(self, client: str | None) -> str | None:
        with self._lock:
            return None if client is None else self._users.get(client)


CLIENT_USERS = ClientUsers()
"""The one of this process."""


def user_of_request(request: web.Request) -> str | None:
    """None if there is one place for all. ConfigError for a user that the server does not know."""
    from server import PromptServer

    if not _multi_user() or HEADER not in request.headers:
        return None
    try:
        user: str = PromptServer.instance.user_manager.get_request_user_id(request)
    except KeyError as error:
        raise ConfigError("This server does not know that user; reload the page and choose yours.") from error
    if not _USER.fullmatch(user):
        raise ConfigError("That user's name cannot be the name of a folder; choose another user.")
    return user


def user_of_prompt() -> str | None:
    """Whose prompt is being executed; None if there is one place for all."""
    from server import PromptServer

    return CLIENT_USERS.user_of(PromptServer.instance.client_id) if _multi_user() else None


def _multi_user() -> bool:
    from comfy.cli_args import args

    return bool(args.multi_user)
