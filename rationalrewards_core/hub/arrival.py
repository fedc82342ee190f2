"""One file on its way from the hub: it goes on where it was cut off, and gets its name once its hash is right."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

from ..errors import DownloadError
from ..storage import storing
from .listing import HubFile

if TYPE_CHECKING:
    import aiohttp

BLOCK: Final = 4 * 1024 * 1024
"""Bytes that are hashed and written at once."""
ATTEMPTS: Final = 6
"""Connections in a row that may bring nothing."""
MOST_REDIRECTS: Final = 5
LONGEST_PAUSE: Final = 30.0
_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})", re.ASCII)


class Arrival:
    """The part of a file that is on the disk."""

    def __init__(self, file: HubFile, folder: Path) -> None:
        self.file = file
        self.target = folder / file.name
        self._part = folder / f"{file.name}.part"
        self.size = 0
        """Bytes that are on the disk and hashed."""
        self._digest = _digest(file)

    def open(self) -> None:
        """Read again what an earlier try left, for the hash. StorageError where the disk refuses."""
        with storing(self._part), self._part.open("ab+") as part:
            if part.tell() > self.file.size:
                part.truncate(0)
            part.seek(0)
            while block := part.read(BLOCK):
                self._digest.update(block)
                self.size += len(block)

    def append(self, block: bytes) -> None:
        """DownloadError if the file becomes longer than the hub said it is."""
        if self.size + len(block) > self.file.size:
            raise DownloadError(f"More arrived of {self.file.name} than the hub said it has; it was not kept.")
        with storing(self._part), self._part.open("r+b") as part:
            part.seek(self.size)
            part.write(block)
        self._digest.update(block)
        self.size += len(block)

    def begin_again(self) -> None:
        with storing(self._part):
            os.truncate(self._part, 0)
        self.size, self._digest = 0, _digest(self.file)

    def close(self) -> None:
        """Give the file its name. DownloadError, and nothing kept, if its hash is not what the hub said."""
        if self._digest.hexdigest() != self.file.hash:
            self._part.unlink()
            raise DownloadError(
                f"{self.file.name} arrived with another hash than the hub states and was removed; go on to fetch it again."
            )
        with storing(self._part):
            with self._part.open("r+b") as part:
                os.fsync(part.fileno())
            os.replace(self._part, self.target)


async def fetch(
    session: aiohttp.ClientSession, address: str, file: HubFile, folder: Path, progress: Callable[[int], None]
) -> None:
    """Make `folder` hold the file; `progress` is told how many of its bytes are there.

    DownloadError if the hub refuses or the hash is wrong, StorageError where the disk refuses. A connection that breaks is
    made again, after pauses that grow.
    """
    import aiohttp

    arrival = Arrival(file, folder)
    await asyncio.to_thread(arrival.open)
    progress(arrival.size)
    failures = 0
    while arrival.size < file.size:
        before = arrival.size
        try:
            await _receive(session, address, arrival, progress)
            reason = "it ended too early"
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            reason = type(error).__name__
        failures = 0 if arrival.size > before else failures + 1
        if failures >= ATTEMPTS:
            raise DownloadError(f"The connection for {file.name} broke {failures} times ({reason}); go on later.")
        if arrival.size < file.size:
            await asyncio.sleep(min(LONGEST_PAUSE, 0.5 * 2**failures))
    await asyncio.to_thread(arrival.close)


async def _receive(
    session: aiohttp.ClientSession, address: str, arrival: Arrival, progress: Callable[[int], None]
) -> None:
    """Append what one connection brings."""
    headers = {"Accept-Encoding": "identity", "Range": f"bytes={arrival.size}-"}
    for _ in range(MOST_REDIRECTS):
        async with session.get(address, headers=headers, allow_redirects=False) as answer:
            if answer.status in (301, 302, 303, 307, 308):
                address = _next_address(address, answer.headers.get("Location", ""))
                continue
            await _check(answer, arrival)
            block = bytearray()
            try:
                async for piece in answer.content.iter_any():
                    block += piece
                    if len(block) >= BLOCK:
                        whole, block = bytes(block), bytearray()
                        await _append_block(arrival, whole, progress)
            finally:  # also of a connection that broke, and of a download that is stopped
                await _append_block(arrival, bytes(block), progress)
            return
    raise DownloadError(f"The hub sent the request for {arrival.file.name} in circles; try again later.")


async def _check(answer: aiohttp.ClientResponse, arrival: Arrival) -> None:
    """Whether an answer brings what is missing; from its beginning if the server knows no ranges."""
    span = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    goes_on = answer.status == 206 and span is not None
    if goes_on and span is not None and (int(span[1]), int(span[2])) == (arrival.size, arrival.file.size):
        return
    if answer.status in (200, 206, 416):
        await asyncio.to_thread(arrival.begin_again)
    if answer.status in (206, 416):
        raise ConnectionError("another range")
    if answer.status == 429 or answer.status >= 500:
        raise ConnectionError(f"HTTP {answer.status}")
    if answer.status != 200:
        raise DownloadError(f"The hub refused {arrival.file.name} (HTTP {answer.status}); fetch the judge by hand.")


async def _append_block(arrival: Arrival, block: bytes, progress: Callable[[int], None]) -> None:
    """Write in a thread, and to the end even when the download is stopped meanwhile."""
    if not block:
        return
    writing = asyncio.ensure_future(asyncio.to_thread(arrival.append, block))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing])
        raise
    progress(arrival.size)


def _next_address(address: str, location: str) -> str:
    """Where a redirect leads: nowhere less safe than where it came from."""
    following = urljoin(address, location)
    if urlsplit(following).scheme != "https" and urlsplit(address).scheme == "https":
        raise DownloadError("The hub sent the download to an address without https; nothing was fetched from there.")
    return following


def _digest(file: HubFile) -> hashlib._Hash:
    if file.hash_kind == "sha256":
        return hashlib.sha256()
    return hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
