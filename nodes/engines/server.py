"""Engine `server`: a server of the user's own config file. A workflow can only name it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ...rationalrewards_core.config_file import config_tables, default_config_path
from ...rationalrewards_core.errors import ConfigError

if TYPE_CHECKING:
    from ..judge.engines import Engine

SERVER_NAME = re.compile(r"[\w][\w .-]{0,63}")
"""Names of the config file that the list shows; an error about any other would ask the user to add an address."""
NO_SERVER = "none found: name one in the file rationalrewards/config.toml of your configuration folder"


def option() -> io.DynamicCombo.Option:
    return io.DynamicCombo.Option(
        "server",
        [
            io.Combo.Input(
                "server",
                options=server_names() or [NO_SERVER],
                tooltip="A name from your own config file, which holds the address and says where the key is. A workflow "
                "can only name it.",
            )
        ],
    )


def server_names() -> list[str]:
    """Names in the user's config file; a file that cannot be read names none, and says why when it is used."""
    path = default_config_path()
    try:
        if not config_tables(path).get("servers"):
            return []  # what reads servers is not imported for none
        from ...rationalrewards_core.servers import load_servers

        return sorted(name for name in load_servers(path) if SERVER_NAME.fullmatch(name))
    except ConfigError:
        return []


def stamps(choice: dict[str, Any]) -> list[str]:
    from ...rationalrewards_core.servers import load_servers

    # A server's `repr` holds no key.
    return [repr(load_servers(default_config_path()).get(str(choice.get("server"))))]


def engine(choice: dict[str, Any]) -> Engine:
    from ..judge.engines import server_engine

    name = choice.get("server")
    if name == NO_SERVER:
        raise ConfigError(f"No server is named yet: add [servers.NAME] with its url to {default_config_path()}.")
    if not isinstance(name, str) or not SERVER_NAME.fullmatch(name):
        raise ConfigError("A workflow can only name a server of your own config file, not an address.")
    return server_engine(name)
