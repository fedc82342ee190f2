"""Questions to one chat server within one event loop, asked in its own words and once more where that helps."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from ..errors import BackendError
from .base import Sampling
from .chat_options import THOUGHT_LIMITS, ChatOptions
from .openai_wire import listed_model
from .server_calls import FIRST_WAIT, RetryableError, ServerCalls
from .server_probe import SHORT

QUESTIONS: Final = "/chat/completions"


class ChatSession:
    """One server's calls, and what is sent beside a question; which model it is."""

    def __init__(self, calls: ServerCalls, options: ChatOptions, sleep: Callable[[float], Awaitable[None]]) -> None:
        self.calls, self.options, self._sleep = calls, options, sleep
        self._name = calls.config.model
        self._model = self._name

    async def model(self) -> str:
        """The model to ask for: the configured one, else the first that the server lists."""
        if not self._model:
            name = (await self.listed()).get("id")
            if not isinstance(name, str) or not name:
                message = f"{self.calls.who} lists no model; set model in the config file."
                raise BackendError(message, reason="model_not_found")
            self._model = name
        return self._model

    async def listed(self) -> dict[str, Any]:
        """What the server says of the model it serves; nothing if it lists none, or breaks over the list."""
        try:
            # `transformers serve` without a cache folder answers 500
            answer = await self.calls.retried(functools.partial(self._unbroken, "GET", "/models"))
        except BackendError as error:
            if error.status is None:
                raise  # it is not there at all
            return {}
        return listed_model(answer, self._name)

    async def answered(self, wire: list[dict[str, Any]], sampling: Sampling) -> dict[str, Any]:
        """POST the question; options that the server turns out not to know are left out from then on."""
        model = await self.model()
        while True:
            body = self.options.body(model, wire, sampling)
            try:
                return await self.calls.retried(functools.partial(self._asked, body))
            except BackendError as error:
                if error.status == 404 and not self._name:
                    self._model = ""  # the server may have been started again with another one
                if error.status in (400, 403, 422) and self.options.drop_refused(str(error), body, sampling.grammar):
                    continue
                if error.status not in (400, 422):
                    raise  # a 403 that names no option is about the key
                return await self._without_options(body, error)

    async def short(self, question: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Ask a probe's question. What a server breaks over is not asked again; a server that is busy or gone is."""
        wire, sampling = [{"role": "user", "content": question}], Sampling(max_tokens=SHORT)
        if not fields:
            return await self.answered(wire, sampling)
        body = {**self.options.body(await self.model(), wire, sampling), **fields}
        if not self.options.thought_limit(body):
            body = {name: value for name, value in body.items() if name not in THOUGHT_LIMITS}
        if "max_tokens" in fields:
            body[self.options.profile.limit] = body.pop("max_tokens")
        return await self.calls.retried(functools.partial(self._unbroken, "POST", QUESTIONS, body))

    async def _unbroken(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One attempt; a 500 is final."""
        try:
            return await self.calls.call(method, path, body)
        except RetryableError as failure:
            if failure.error.status == 500:
                raise failure.error from failure.__cause__
            raise

    async def _asked(self, body: dict[str, Any]) -> dict[str, Any]:
        """One attempt, and after a 500 another one without stop texts: some servers break over them.

        Only an answer to the second proves that; from then on the reply is cut here alone.
        """
        try:
            return await self.calls.call("POST", QUESTIONS, body)
        except RetryableError as failure:
            if failure.error.status != 500 or "stop" not in body:
                raise
            await self._sleep(FIRST_WAIT)  # a server that broke closes the connection, a moment after its 500
            try:
                plain = {name: value for name, value in body.items() if name != "stop"}
                answer = await self.calls.call("POST", QUESTIONS, plain)
            except (RetryableError, BackendError):
                raise failure from failure.__cause__
        self.options.drop_stop_texts()
        return answer

    async def _without_options(self, body: Mapping[str, Any], refusal: BackendError) -> dict[str, Any]:
        """Ask once more without any option, after a 400 that names no field; raises `refusal` if that is no help."""
        names = self.options.droppable(str(refusal), body)
        if not names:
            raise refusal
        plain = {name: value for name, value in body.items() if name not in names}
        try:
            answer = await self.calls.retried(functools.partial(self.calls.call, "POST", QUESTIONS, plain))
        except BackendError:
            raise refusal from None
        self.options.drop(names)
        return answer
