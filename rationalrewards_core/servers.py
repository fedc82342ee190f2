"""Named model servers, from the user's own config file.

A workflow or a command names a server; only this file says where it is and which key it takes:

    [servers.judge]
    url = "http://127.0.0.1:8000/v1"
    model = "RationalRewards-8B-T2I"
    api_key_env = "JUDGE_KEY"

    thinking = "off"                  # for models that think first

A server that this program starts itself, when it is first asked, has a command in place of the url:

    [servers.own]
    command = ["llama-server", "--model", "judge.gguf", "--mmproj", "mmproj.gguf", "--port", "{port}"]
    environment = { LLAMA_API_KEY = "{key}" }

The file is `rationalrewards/config.toml` in the user's configuration folder (`config_file`). Keys never appear in
`repr`, logs or error messages.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, get_args
from urllib.parse import urlsplit

from .config_file import config_tables, default_config_path
from .errors import ConfigError

Structured = Literal["auto", "vllm", "sglang", "llama_cpp", "none"]
Thinking = Literal["default", "on", "off"]

THINKING_SWITCHES: Final = ("enable_thinking", "thinking")
"""How chat templates call the switch: Qwen's and GLM's, and DeepSeek's."""
PORT: Final = "{port}"
KEY: Final = "{key}"
_OURS: Final = frozenset(("messages", "model", "n", "stream"))
"""Request fields without which a reply could not be asked for, or read."""
_LEAST: Final = {
    "start_seconds": 1,
    "idle_seconds": 1,
    "memory_gb": 0,
    "timeout_seconds": 0.1,
    "connect_seconds": 0.1,
    "wait_seconds": 0,
    "concurrency": 1,
    "max_pixels": 1024,
    "thinking_tokens": 0,
}


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """One OpenAI-compatible server."""

    name: str
    """What the user calls it."""
    url: str = ""
    """Base URL, such as `http://127.0.0.1:8000/v1`; `/chat/completions` is appended. Empty where there is a command."""
    command: tuple[str, ...] = ()
    """Program and arguments that start the server on this machine; `{port}` and `{key}` in them are filled in."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables of the command's environment, filled in likewise: arguments can be seen by other users, these cannot."""
    idle_seconds: float = 300.0
    """A started server is stopped when nobody has asked it for so long."""
    start_seconds: float = 900.0
    """How long a started server may take until it answers."""
    memory_gb: float = 0.0
    """Memory that a started server takes of the card; 0 is not known, so ComfyUI makes all the room it can."""
    model: str = ""
    """Model to ask for; empty asks the server for its first one."""
    api_key: str = field(default="", repr=False)
    """Bearer key; better named through `api_key_env`."""
    api_key_env: str = ""
    """Environment variable that holds the key."""
    timeout_seconds: float = 300.0
    """Limit of one request, all of it."""
    connect_seconds: float = 10.0
    """Limit of reaching the server."""
    concurrency: int = 8
    """Requests under way at once."""
    retries: int = 4
    """Further attempts after a 429, a 5xx, a timeout or a broken connection."""
    wait_seconds: float = 180.0
    """How long all callers together wait for a server that was there and is gone, or is still loading; 0 does not wait."""
    structured: Structured = "auto"
    """How the server takes a grammar: vllm, sglang, llama_cpp, none; auto finds out."""
    logprobs: bool = True
    """Whether to ask for token probabilities, from which `expected` and `spread` come."""
    check_sight: bool = True
    """Whether a judge must show once that it sees pictures (four tiny questions) before it scores any."""
    probe: bool = True
    """Whether to find out once what the server honours (about eight short questions): grammar, token probabilities, stop
    texts, seed, thinking."""
    remember: bool = True
    """Whether what was found out is kept in the user's cache folder, for a week or until the server lists another model."""
    max_pixels: int = 802_816
    """Larger images are scaled down before they are sent."""
    processor: str = ""
    """Folder that holds the model's preprocessor_config.json, or a GGUF model's mmproj file, so that pictures are scaled
    here exactly as the checkpoint asks; empty uses the folder that the server lists, else what its token counts show."""
    thinking: Thinking = "default"
    """For models that can think before they answer: on, off, or as the server's chat template has it."""
    thinking_tokens: int = 0
    """Tokens that a reply may have beside its limit, for what is thought first."""
    template: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    """What else the server's chat template takes, such as `language = "en"`; sent as chat_template_kwargs."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of every request, such as `reasoning_effort = "none"`; they go before ours of the same name."""

    def __post_init__(self) -> None:
        if self.command:
            self._check_command()
        else:
            self._check_url()
        if self.api_key and self.api_key_env:
            raise ConfigError(f"servers.{self.name} has both api_key and api_key_env; keep one of them.")
        for key, allowed in (("structured", get_args(Structured)), ("thinking", get_args(Thinking))):
            if getattr(self, key) not in allowed:
                raise ConfigError(f"servers.{self.name}.{key} must be one of {', '.join(allowed)}.")
        for key, low in _LEAST.items():
            if not low <= getattr(self, key) < math.inf:
                raise ConfigError(f"servers.{self.name}.{key} must be at least {low}, not {getattr(self, key)}.")
        if not 0 <= self.retries <= 20:
            raise ConfigError(f"servers.{self.name}.retries must be between 0 and 20, not {self.retries}.")
        for key, value in self.template.items():
            if not key.isidentifier() or not isinstance(value, (bool, int, float, str)):
                raise ConfigError(
                    f"servers.{self.name}.template.{key} must be a plain name with a text, number or true or false."
                )
        self._check_fields()

    @property
    def chat_template(self) -> dict[str, bool | int | float | str]:
        """Everything that the server's chat template is told. Templates overlook what they do not know."""
        switches = {} if self.thinking == "default" else dict.fromkeys(THINKING_SWITCHES, self.thinking == "on")
        return {**switches, **self.template}

    @property
    def managed(self) -> bool:
        """Whether this program starts the server itself."""
        return bool(self.command)

    def _check_command(self) -> None:
        where = f"servers.{self.name}"
        if self.url or self.api_key or self.api_key_env:
            raise ConfigError(
                f"{where} has a command, so it takes no url and no key: both are made when it is started."
            )
        if not all(isinstance(word, str) and "\0" not in word for word in self.command) or not self.command[0].strip():
            raise ConfigError(f"{where}.command must be a list of texts: the program and its arguments.")
        for name, value in self.environment.items():
            if not name.isidentifier() or not isinstance(value, str) or "\0" in value:
                raise ConfigError(f"{where}.environment must hold texts by the names of variables.")
        if not any(PORT in text for text in (*self.command, *self.environment.values())):
            raise ConfigError(f"{where}.command must say where the port goes: write {PORT} in its place.")

    def _check_fields(self) -> None:
        where = f"servers.{self.name}.fields"
        for key in sorted(_OURS & self.fields.keys()):
            raise ConfigError(f"{where} must leave {key} to this program.")
        try:
            json.dumps(self.fields, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{where} must hold what JSON can say: no dates, and no infinite numbers.") from error

    def _check_url(self) -> None:
        where = f"servers.{self.name}.url"
        # An address with an @ may hold a password, so it is not shown.
        hint = "" if "@" in self.url else f", not {self.url!r}"
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or not self.url.isprintable() or " " in self.url:
            raise ConfigError(f"{where} must be an http or https address{hint}.")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ConfigError(f"{where} must hold no user, password, query or #; use api_key_env for a key.")

    def key(self) -> str:
        """The bearer key, or an empty string; ConfigError if it is named and not set, or cannot be sent."""
        key = (os.environ.get(self.api_key_env, "") if self.api_key_env else self.api_key).strip()
        if self.api_key_env and not key:
            raise ConfigError(f"Server {self.name!r} takes its key from {self.api_key_env}, which is not set.")
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigError(f"The key of server {self.name!r} holds a character that no key has; copy it again.")
        return key


def load_servers(path: Path) -> dict[str, ServerConfig]:
    """Every server of a config file, by name; an empty table if there is no file."""
    table = config_tables(path)
    servers = table.get("servers", {})
    if not isinstance(servers, dict):
        raise ConfigError(f"{path}: servers must be tables such as [servers.judge].")
    return {name: _server(name, row, path) for name, row in servers.items()}


def server(name: str, path: Path | None = None) -> ServerConfig:
    """One server by name; ConfigError that says what to write, and where, if it is not there."""
    where = path or default_config_path()
    servers = load_servers(where)
    if name in servers:
        return servers[name]
    listed = f"it knows {', '.join(sorted(servers))}" if servers else "it names no server yet"
    table = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)
    raise ConfigError(
        f"There is no server {name!r} in {where} ({listed if where.exists() else 'there is no such file yet'}). "
        f'Add: [servers.{table}] and under it url = "http://HOST:PORT/v1".'
    )


def _server(name: str, row: Any, path: Path) -> ServerConfig:
    if not isinstance(row, dict):
        raise ConfigError(f"{path}: servers.{name} must be a table.")
    types: dict[str, Any] = {
        "str": str,
        "Structured": str,
        "Thinking": str,
        "bool": bool,
        "int": int,
        "float": (int, float),
        "tuple[str, ...]": list,
        "Mapping[str, str]": dict,
        "Mapping[str, bool | int | float | str]": dict,
        "Mapping[str, Any]": dict,
    }
    types_by_field = {f.name: types[str(f.type)] for f in fields(ServerConfig) if f.name != "name"}
    for key, value in row.items():
        if key not in types_by_field:
            raise ConfigError(
                f"{path}: unknown key {key!r} in servers.{name}; known keys are {', '.join(sorted(types_by_field))}."
            )
        if not isinstance(value, types_by_field[key]) or (isinstance(value, bool) and types_by_field[key] is not bool):
            # The value is not shown: it may be a key.
            raise ConfigError(f"{path}: servers.{name}.{key} has the wrong type.")
    if "url" not in row and "command" not in row:
        raise ConfigError(f"{path}: servers.{name} needs a url, or a command that starts it.")
    if "environment" in row and "command" not in row:
        raise ConfigError(f"{path}: servers.{name}.environment goes with a command.")
    if row.get("command") == []:
        raise ConfigError(f"{path}: servers.{name}.command is empty; name the program and its arguments.")
    try:
        return ServerConfig(name=name, **{**row, "command": tuple(row.get("command", ()))})
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
