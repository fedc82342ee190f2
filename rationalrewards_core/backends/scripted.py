"""A backend that answers from a script: for tests, demo graphs and dry runs. No model, no network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from ..errors import BackendError, RationalRewardsError
from ..messages import Message
from .base import Finish, Reply, Sampling

Line = str | Reply | RationalRewardsError
"""A reply's text, a whole reply, or the error to raise."""


class ScriptedBackend:
    """Gives the lines of a script in turn, or asks a function for each; remembers what it was sent."""

    def __init__(
        self,
        script: Iterable[Line] | Callable[[Sequence[Message], Sampling], Line],
        *,
        identity: str = "scripted",
        concurrency: int = 8,
        seconds: float = 0.0,
    ) -> None:
        self._answer = script if callable(script) else None
        self._lines = None if callable(script) else iter(script)
        self._identity, self._concurrency, self._seconds = identity, concurrency, seconds
        self.calls: list[tuple[tuple[Message, ...], Sampling]] = []
        """Every (messages, sampling) received, in order."""

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def concurrency(self) -> int:
        return self._concurrency

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        self.calls.append((tuple(messages), sampling))
        line = self._next(messages, sampling)
        if self._seconds:
            await asyncio.sleep(self._seconds)
        if isinstance(line, RationalRewardsError):
            raise line
        if isinstance(line, Reply):
            return line
        text, finish = _stopped(line, sampling)
        return Reply(text=text, finish=finish, model=self._identity, completion_tokens=len(text.split()))

    async def close(self) -> None:
        return None

    def _next(self, messages: Sequence[Message], sampling: Sampling) -> Line:
        if self._answer is not None:
            return self._answer(messages, sampling)
        assert self._lines is not None
        try:
            return next(self._lines)
        except StopIteration:
            raise BackendError("The script has no further reply.", reason="script_ended") from None


def _stopped(text: str, sampling: Sampling) -> tuple[str, Finish]:
    """Apply stop strings as a model server would."""
    cuts = [text.find(stop) for stop in sampling.stop if stop in text]
    return (text[: min(cuts)] if cuts else text), Finish.STOP
