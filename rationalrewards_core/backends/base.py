"""What a backend is: messages in, a reply out. It knows nothing of rubrics, scores or critiques.

A backend raises `BackendError` when no reply can be had and `RequestError` when the messages cannot
be sent as they are. It never invents a reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final, Protocol, runtime_checkable

from ..errors import ConfigError
from ..messages import Message


class Finish(str, Enum):
    """Why a reply ended."""

    STOP = "stop"
    """The model ended its turn, or a stop string was reached."""
    LENGTH = "length"
    """The token limit cut it off: the reply is truncated."""
    CONTEXT = "context"
    """What the server holds of prompt and reply together was full before the token limit: the reply is truncated."""
    OTHER = "other"
    """A content filter, an abort, or a reason this project does not know."""


SECOND_TEMPERATURE: Final = 0.5
"""An unusable greedy reply would only be repeated, so it is asked again with some chance and a fixed seed."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a reply is drawn."""

    temperature: float = 0.0
    """0 is greedy and repeatable."""
    max_tokens: int = 2048
    """Upper limit of the reply; reaching it makes the reply truncated."""
    stop: tuple[str, ...] = ()
    """Texts that end the reply; the text itself is not part of it."""
    seed: int | None = None
    """Makes sampling repeatable where the backend can; None leaves it free."""
    grammar: str | None = field(default=None, repr=False)
    """EBNF that the reply must follow; backends that cannot guide decoding ignore it and say so once."""
    alternatives: int = 0
    """How many most likely tokens to report for every position of the reply; 0 reports none."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= 2.0:
            raise ConfigError(f"temperature must be between 0 and 2, not {self.temperature}.")
        if not 1 <= self.max_tokens <= 65_536:
            raise ConfigError(f"max_tokens must be between 1 and 65536, not {self.max_tokens}.")
        if "" in self.stop:
            raise ConfigError("A stop text must not be empty.")
        if not 0 <= self.alternatives <= 20:
            raise ConfigError(f"alternatives must be between 0 and 20, not {self.alternatives}.")

    @property
    def repeatable(self) -> bool:
        return self.temperature == 0.0 or self.seed is not None

    def end(self, text: str, start: int = 0) -> int | None:
        """Where the first of the stop texts from `start` on begins, which is where a reply ends; None without one."""
        return min((at for at in (text.find(stop, start) for stop in self.stop) if at >= 0), default=None)

    def again(self, attempt: int) -> Sampling:
        """How to ask for the same reply once more; attempt 0 is the first, and is asked as it stands."""
        return replace(self, temperature=SECOND_TEMPERATURE, seed=attempt) if attempt else self


@dataclass(frozen=True)
class TokenChoice:
    """One token of a reply and what else the model considered there."""

    text: str
    alternatives: tuple[tuple[str, float], ...]
    """(token text, probability 0..1), most likely first."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came from the model."""

    text: str
    finish: Finish
    model: str
    """Name of the model that answered, as the backend reports it."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    """From sending the messages to having the reply, waiting included."""
    tokens: tuple[TokenChoice, ...] = field(default=(), repr=False)
    """The reply token by token, if alternatives were asked for and the backend can give them."""


class Backend(Protocol):
    """The one interface between this project and a model."""

    @property
    def identity(self) -> str:
        """Names model and settings that change replies; part of the memo's key."""
        ...

    @property
    def concurrency(self) -> int:
        """How many replies are worth asking for at once."""
        ...

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """Ask once. Raises BackendError or RequestError."""
        ...

    async def close(self) -> None:
        """Give back connections and memory; the backend may be used again afterwards."""
        ...


@runtime_checkable
class Introduction(Protocol):
    """A backend that has to ask who answers before it can say so: a server."""

    async def introduce(self) -> None:
        """Learn which model answers, once per connection, for `identity`. BackendError if it cannot judge pictures."""
        ...


async def introduce(backend: Backend) -> None:
    """Let a backend that has to ask who answers do so; others know."""
    if isinstance(backend, Introduction):
        await backend.introduce()
