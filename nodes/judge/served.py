"""What every judge behind a server tells of itself, whoever runs the server."""

from __future__ import annotations

from typing import Generic, TypeVar

from ...rationalrewards_core.backends.managed_chat import ManagedChat
from ...rationalrewards_core.backends.openai_chat import OpenAIChat
from ...rationalrewards_core.backends.server_profile import ServerProfile
from ...rationalrewards_core.picture_grid import PictureGrid
from ...rationalrewards_core.servers import ServerConfig

ChatT = TypeVar("ChatT", OpenAIChat, ManagedChat)


class Served(Generic[ChatT]):
    """The parts of an engine that its backend knows."""

    _backend: ChatT

    @property
    def identity(self) -> str:
        return self._backend.identity

    @property
    def config(self) -> ServerConfig:
        return self._backend.config

    @property
    def profile(self) -> ServerProfile | None:
        """What the server honours; None before one that is started on demand was asked anything."""
        return self._backend.profile

    def forget(self) -> None:
        """Find out anew what the server honours."""
        self._backend.forget()

    @property
    def notes(self) -> list[str]:
        """What the user should know of how this server judges, a sentence each."""
        profile = self.profile
        return profile.shortcomings() if profile is not None else []

    @property
    def grid(self) -> PictureGrid | None:
        """How pictures are scaled before they are sent."""
        return self._backend.grid

    @property
    def concurrency(self) -> int:
        return self._backend.concurrency
