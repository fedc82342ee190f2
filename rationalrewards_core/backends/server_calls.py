"""Calls to one server over HTTP, in one event loop: what is retried, what is final, and how each failure is told.

Retried, with growing and jittered waits: 429 (its Retry-After is honoured), 5xx, timeouts, broken connections and broken
bodies; a server that is gone is waited for (`outage`). Not retried: every other 4xx; asking again would not change it.
Redirects are not followed: images and keys go to the server the user named and to no other. Prompts, images and keys are
never logged.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from ..errors import BackendError
from ..servers import ServerConfig
from .openai_wire import complaint, json_object, retry_seconds
from .outage import Outage, Presence

log = logging.getLogger("rationalrewards.backends.server_calls")

FIRST_WAIT: Final = 0.5
"""Seconds before the first retry, on average; doubled each time."""
LONGEST_WAIT: Final = 30.0
"""No wait is longer, whatever a server asks for."""
LARGEST_ANSWER: Final = 64 * 2**20
"""Bytes of an answer, unpacked; a server that sends more is not a chat server."""
MOST_OUTAGES: Final = 10
"""One call waits for the server to come back at most so often: it may be what ends it."""
LOADING: Final = (502, 503, 504)
"""What servers, and proxies before them, answer while nobody can be served."""
_REASON_OF_STATUS: Final = {401: "unauthorized", 403: "unauthorized", 404: "model_not_found", 429: "rate_limited"}
_ADVICE: Final = {
    "unauthorized": "; check the key named in the config file",
    "model_not_found": "; check model and url in the config file",
    "redirected": "; it points elsewhere, give that address as url in the config file",
    "rate_limited": "; lower concurrency in the config file",
    "context_full": "; start it with a larger context (vLLM: --max-model-len; llama.cpp: -c, which -np divides) or lower "
    "max_pixels in the config file",
}
_CONTEXT: Final = ("context length", "context size", "context window", "maximum model length", "max_model_len")
"""Words of a 400 that is about a prompt too long for the server."""


class RetryableError(Exception):
    """An attempt failed in a way that another one may not; `wait` is what the server asked for, in seconds."""

    def __init__(self, error: BackendError, wait: float | None = None) -> None:
        super().__init__(str(error))
        self.error, self.wait = error, wait

    @property
    def absent(self) -> bool:
        """Whether the server may be gone, rather than busy or broken."""
        return self.error.reason == "connection" or self.error.status in LOADING


class ServerCalls:
    """One server's session in the running event loop; neither can outlive the other."""

    def __init__(
        self,
        config: ServerConfig,
        sleep: Callable[[float], Awaitable[None]],
        back: Callable[[], Awaitable[None]],
    ) -> None:
        """`back` is awaited whenever the server was gone and is back. ConfigError if the key cannot be had."""
        self.config, self._sleep = config, sleep
        self.key = config.key()
        self.gate = asyncio.Semaphore(config.concurrency)
        self.loop = asyncio.get_running_loop()
        self.session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self.key}"} if self.key else {},
            timeout=aiohttp.ClientTimeout(total=config.timeout_seconds, connect=config.connect_seconds),
            connector=aiohttp.TCPConnector(limit=config.concurrency),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._outage = Outage(config.name, self._look, config.wait_seconds, sleep, back)

    @property
    def usable(self) -> bool:
        return not self.session.closed and self.loop is asyncio.get_running_loop()

    @property
    def who(self) -> str:
        return f"Server {self.config.name!r} ({self.config.url})"

    async def close(self) -> None:
        """Give the connections back, unless they are another living loop's."""
        if self.loop is asyncio.get_running_loop() or self.loop.is_closed():
            await self.session.close()

    async def retried(self, call: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        """Attempt a call until it succeeds, fails for good, or has failed too often."""
        attempt, outages = 0, 0
        while True:
            try:
                return await call()
            except RetryableError as failure:
                if failure.absent and outages < MOST_OUTAGES and await self._outage.wait():
                    outages += 1
                    continue
                if attempt >= self.config.retries or (failure.absent and self._outage.given_up):
                    raise failure.error from failure.__cause__
                wait = self._wait(attempt, failure.wait)
                attempt += 1
                log.debug("attempt %d failed (%s); next in %.1f s", attempt, failure.error.reason, wait)
                await self._sleep(wait)

    @staticmethod
    def _wait(attempt: int, retry_after: float | None) -> float:
        jittered: float = FIRST_WAIT * 2**attempt * random.uniform(0.5, 1.5)
        return min(LONGEST_WAIT, max(jittered, retry_after or 0.0))

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One attempt. Raises RetryableError or BackendError; returns the JSON object of a 200."""
        url = self.config.url.rstrip("/") + path
        try:
            async with self.session.request(method, url, json=body, allow_redirects=False) as response:
                text = await self._text(response)
                if response.status != 200:
                    self._fail(response.status, text, response.headers.get("Retry-After"))
        except aiohttp.ServerTimeoutError as error:
            message = f"{self.who} could not be reached within {self.config.connect_seconds:g} s; is it running?"
            raise RetryableError(BackendError(message, reason="timeout")) from error
        except asyncio.TimeoutError as error:
            message = f"{self.who} did not answer within {self.config.timeout_seconds:g} s."
            raise RetryableError(BackendError(message, reason="timeout")) from error
        except aiohttp.InvalidURL as error:
            raise BackendError(f"{self.who} has an address that cannot be used.", reason="connection") from error
        except (aiohttp.ClientError, ConnectionError, OSError) as error:
            message = f"{self.who} cannot be reached or broke the connection ({type(error).__name__}); is it running?"
            raise RetryableError(BackendError(message, reason="connection")) from error
        self._outage.answered()
        answer = json_object(text)
        if answer is None:
            message = f"{self.who} answered with something that is no JSON object; is the url its /v1 address?"
            raise RetryableError(BackendError(message, reason="bad_reply", status=200))
        return answer

    async def beside(self, path: str) -> dict[str, Any]:
        """What the server says of itself under a path beside its /v1; nothing if it has no such page."""
        try:
            async with self.session.get(self._beside(path), allow_redirects=False) as response:
                return (json_object(await self._text(response)) or {}) if response.status == 200 else {}
        except (aiohttp.ClientError, ConnectionError, OSError, asyncio.TimeoutError, BackendError):
            return {}

    async def _look(self) -> Presence:
        """Whether somebody answers; a page that the server does not have is an answer too."""
        try:
            timeout = aiohttp.ClientTimeout(total=self.config.connect_seconds)
            async with self.session.get(self._beside("/health"), allow_redirects=False, timeout=timeout) as response:
                return Presence.LOADING if response.status in LOADING else Presence.UP
        except asyncio.TimeoutError:
            return Presence.UP  # it takes connections: it is busy
        except (aiohttp.ClientError, ConnectionError, OSError):
            return Presence.GONE

    def _beside(self, path: str) -> str:
        parts = urlsplit(self.config.url)
        return parts._replace(path=parts.path.rstrip("/").removesuffix("/v1") + path).geturl()

    async def _text(self, response: aiohttp.ClientResponse) -> str:
        content = bytearray()
        async for chunk in response.content.iter_any():
            content += chunk
            if len(content) > LARGEST_ANSWER:
                message = f"{self.who} sent more than {LARGEST_ANSWER} bytes; that is no reply."
                raise BackendError(message, reason="bad_reply", status=response.status)
        return content.decode("utf-8", "replace")

    def _fail(self, status: int, text: str, retry_after: str | None) -> None:
        """Raise the error of an HTTP status."""
        sentence = complaint(text, self.key)
        reason = _REASON_OF_STATUS.get(status, "server_error" if status >= 500 else "client_error")
        if 300 <= status < 400:
            reason = "redirected"
        if status in (400, 413) and any(words in sentence.casefold() for words in _CONTEXT):
            reason = "context_full"
        error = BackendError(
            f"{self.who} answered {status}{_ADVICE.get(reason, '')}: {sentence}", reason=reason, status=status
        )
        if status == 429 or status >= 500:
            raise RetryableError(error, retry_seconds(retry_after))
        if status < 500:
            self._outage.answered()
        raise error
