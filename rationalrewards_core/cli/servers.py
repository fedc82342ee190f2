"""The command that names model servers in the user's config file: servers add, list, remove."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import Any

from ..config_file import default_config_path
from ..errors import ConfigError
from ..server_entries import add_entry, entry_text, remove_entry, server_entry
from ..servers import ServerConfig, load_servers
from .judge_commands import DONE, show_json

NAME = re.compile(r"[\w][\w .-]{0,63}")
"""What ComfyUI's list shows."""


def servers_command(arguments: argparse.Namespace) -> int:
    path = arguments.config or default_config_path()
    if arguments.action == "add":
        return _add(arguments, path)
    if arguments.action == "remove":
        remove_entry(path, arguments.name)
        print(f"Server {arguments.name!r} is no longer in {path}.")
        return DONE
    rows = [_row(server) for _, server in sorted(load_servers(path).items())]
    if arguments.json:
        show_json(rows)
    elif rows:
        for row in rows:
            model = f" (model {row['model']})" if row["model"] else ""
            print(f"{row['name']}: {row['started_by'] or row['url']}{model}")
    else:
        print(f"{path} names no server yet; add one: rationalrewards servers add NAME vllm|llama.cpp|sglang MODEL")
    return DONE


def _add(arguments: argparse.Namespace, path: Path) -> int:
    if not NAME.fullmatch(arguments.name):
        raise ConfigError(
            f"A server's name is up to 64 letters, digits, blanks, dots and hyphens, not {arguments.name!r}."
        )
    entry = server_entry(
        arguments.kind,
        arguments.model,
        mmproj=arguments.mmproj,
        program=arguments.program,
        slots=arguments.slots,
        share=arguments.memory_share,
    )
    if arguments.dry_run:
        print(entry_text(arguments.name, entry), end="")
        return DONE
    add_entry(path, arguments.name, entry)
    print(f"Server {arguments.name!r} is in {path}; it is started when it is first asked.")
    print(f"Try it: rationalrewards doctor server:{shlex.quote(arguments.name)}")
    return DONE


def _row(server: ServerConfig) -> dict[str, Any]:
    return {
        "name": server.name,
        "url": server.url,
        "started_by": shlex.join(server.command),
        "model": server.model,
    }
