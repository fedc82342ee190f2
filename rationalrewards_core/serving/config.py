"""Where the reward server listens, and the limits of what it accepts."""

from __future__ import annotations

import math
import socket
from dataclasses import dataclass, field

from ..errors import ConfigError

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Where the server listens and what it accepts."""

    host: str = "127.0.0.1"
    """Address to bind to; this machine only unless told otherwise."""
    port: int = 8288
    """Port to bind to; 0 takes any free one."""
    token: str | None = field(default=None, repr=False)
    """Bearer token every call must carry, /health excepted; None asks for none."""
    max_body_bytes: int = 64 * 2**20
    """Larger request bodies are refused with 413."""
    max_held_bytes: int = 512 * 2**20
    """Bodies of all calls together, from their first byte to their answer; more are refused with 429."""
    body_seconds: float = 60.0
    """How long a body may take to arrive; beyond it the call is refused with 408."""
    max_pixels: int = 16_777_216
    """Larger images are refused, before they are decoded."""
    max_decoded_pixels: int = 128 * 2**20
    """Pixels of the images decoded at once, over all calls; further items wait. One pixel takes 3 bytes, and up to 12
    more while it is decoded. An item that has more by itself is judged while no other is."""
    max_batch: int = 256
    """Items of one batch; never more than `max_waiting`."""
    max_waiting: int = 512
    """Items queued or being judged over all calls; more are refused with 429."""
    request_seconds: float = 600.0
    """Limit of judging one item, waiting included; beyond it the item is unscored (`timeout`)."""
    shutdown_seconds: float = 30.0
    """How long a stopping server lets calls under way finish; items that it does not are unscored (`stopped`)."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"port must be between 0 and 65535, not {self.port}.")
        if self.token is not None and len(self.token) < 8:
            raise ConfigError("token must have at least 8 characters.")
        for name in ("max_body_bytes", "max_pixels", "max_decoded_pixels", "max_batch", "max_waiting"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.max_held_bytes < self.max_body_bytes:
            raise ConfigError(f"max_held_bytes must be at least max_body_bytes ({self.max_body_bytes}).")
        for name in ("body_seconds", "request_seconds", "shutdown_seconds"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be a positive number, not {getattr(self, name)}.")

    @property
    def most_items(self) -> int:
        """The largest batch that can ever find room."""
        return min(self.max_batch, self.max_waiting)


def listening_socket(config: ServeConfig) -> socket.socket:
    """A bound socket; ConfigError if the address is unknown or taken."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except OSError as error:
        raise ConfigError(
            f"Cannot listen on {config.host}:{config.port}: {error.strerror or error}. Choose another --host or --port."
        ) from error
