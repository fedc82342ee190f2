"""A released judge on its way into a folder: asked for, started, stopped, gone on with, discarded.

It arrives in a hidden folder beside its own, which takes its place when every file is whole. What a stop or a killed
process left is gone on with.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from ..errors import ConfigError, DownloadError, RationalRewardsError
from ..file_lock import FileLock
from ..storage import replace_text, storing, sync_folder
from .arrival import fetch
from .listing import HubFile, Listing, ask_listing, read_listing
from .releases import JudgeRelease

if TYPE_CHECKING:
    import aiohttp

PLAN: Final = "download.json"
"""In the folder, also afterwards: which commit it is, and the hashes."""
SPARE_BYTES: Final = 1_000_000_000
"""Room that a download leaves on the disk."""
CONNECT_SECONDS, SILENCE_SECONDS = 30, 60

State = Literal["missing", "part", "running", "failed", "here", "occupied"]
log = logging.getLogger("rationalrewards.hub")


@dataclass(frozen=True, kw_only=True)
class DownloadState:
    """What a page shows."""

    state: State
    """`part` is stopped and can go on; `occupied`: a folder of that name is there, and holds no judge."""
    commit: str | None = None
    size: int | None = None
    """Bytes of all files, once the hub was asked."""
    arrived: int = 0
    """Bytes that are on the disk."""
    free: int | None = None
    """Bytes that the disk has left."""
    error: str | None = None


class JudgeDownload:
    """One release and one folder; its methods run in one event loop, and what waits for the disk runs in threads."""

    def __init__(self, release: JudgeRelease, folder: Path, hub: str) -> None:
        """`folder` will hold the release's own folder; `hub` is an address without a slash at its end."""
        self.release, self.hub = release, hub
        self.target = folder / release.name
        self._unfinished = folder / f".{release.name}.download"
        self._listing: Listing | None = None
        self._arrived: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None
        self._error: str | None = None

    def state(self) -> DownloadState:
        """Nothing is asked of the hub."""
        if self._task is not None:
            return self._state_of("running")
        if self.target.exists():
            return DownloadState(state="here" if _whole(self.target) else "occupied")
        if self._listing is None:
            self._recall()
        if self._error is not None:
            return self._state_of("failed")
        return self._state_of("part" if self._unfinished.exists() else "missing")

    async def ask(self) -> DownloadState:
        """Ask the hub what there is to fetch; nothing is fetched, and what has begun stays at its commit."""
        state = self.state()
        begun = self._listing is not None and self._unfinished.exists()
        if state.state in ("missing", "part", "failed") and not begun:
            async with self._session() as session:
                self._listing = await ask_listing(session, self.hub, self.release)
            self._error = None
        return self.state()

    async def start(self, commit: str) -> DownloadState:
        """Begin, or go on; `commit` is the one that the user agreed to.

        ConfigError if that is not what the hub said last, if it runs, is there, or has no room.
        """
        state = self.state()
        if state.state in ("running", "here"):
            return state
        if state.state == "occupied":
            raise ConfigError(f"The folder {self.target.name} is there and holds no judge; move it away first.")
        if self._listing is None or self._listing.commit != commit:
            raise ConfigError("Another version is there than the one that was shown; look at it again.")
        left = self._listing.size - state.arrived
        if state.free is not None and state.free < left + SPARE_BYTES:
            need = (left + SPARE_BYTES) / 1e9
            raise ConfigError(f"The disk has {state.free / 1e9:.1f} GB left and {need:.1f} GB are needed; make room.")
        self._error = None
        self._task = asyncio.get_running_loop().create_task(self._run(self._listing))
        return self.state()

    async def stop(self) -> DownloadState:
        """What has arrived is kept."""
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        return self.state()

    async def discard(self) -> DownloadState:
        """Stop, and remove what has arrived."""
        await self.stop()
        with storing(self._unfinished):
            if self._unfinished.exists():
                await asyncio.to_thread(shutil.rmtree, self._unfinished)
        self._listing, self._error, self._arrived = None, None, {}
        return self.state()

    async def _run(self, listing: Listing) -> None:
        try:
            await self._fetch_all(listing)
        except asyncio.CancelledError:
            log.info("%s: stopped at %d of %d bytes", self.release.name, sum(self._arrived.values()), listing.size)
            raise
        except (RationalRewardsError, OSError) as error:
            self._error = str(error)
            log.warning("%s: %s", self.release.name, error)
        finally:
            self._task = None

    async def _fetch_all(self, listing: Listing) -> None:
        with storing(self._unfinished):
            self._unfinished.mkdir(parents=True, exist_ok=True)
        busy = f"Another ComfyUI is fetching {self.release.name} into the same folder."
        lock = FileLock(self._unfinished.with_suffix(".lock"), wait=False, busy=busy)
        try:
            replace_text(self._unfinished / PLAN, listing.to_json())
            async with self._session() as session:
                for file in sorted(listing.files, key=lambda file: file.size):
                    await self._fetch_one(session, listing, file)
            with storing(self.target):
                os.replace(self._unfinished, self.target)
                sync_folder(self.target.parent)
            log.info("%s is here: %s at %s", self.release.name, listing.repository, listing.commit)
        finally:
            lock.close()

    async def _fetch_one(self, session: aiohttp.ClientSession, listing: Listing, file: HubFile) -> None:
        def progress(size: int) -> None:
            self._arrived[file.name] = size

        target = self._unfinished / file.name
        if target.is_file() and target.stat().st_size == file.size:  # it got its name when its hash was right
            progress(file.size)
            return
        await fetch(
            session,
            f"{self.hub}/{listing.repository}/resolve/{listing.commit}/{file.name}",
            file,
            self._unfinished,
            progress,
        )

    def _recall(self) -> None:
        """What an earlier process left."""
        try:
            self._listing = read_listing((self._unfinished / PLAN).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            return
        except DownloadError as error:
            self._error = str(error)
            return
        for file in self._listing.files:
            for place in (self._unfinished / file.name, self._unfinished / f"{file.name}.part"):
                with suppress(OSError):
                    self._arrived[file.name] = place.stat().st_size

    def _state_of(self, state: State) -> DownloadState:
        listing = self._listing
        return DownloadState(
            state=state,
            commit=listing.commit if listing is not None else None,
            size=listing.size if listing is not None else None,
            arrived=sum(self._arrived.values()),
            free=_free(self.target.parent),
            error=self._error,
        )

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[aiohttp.ClientSession]:
        import aiohttp

        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        # trust_env: the proxy of the user's environment, as Hugging Face's own tools take it.
        async with aiohttp.ClientSession(timeout=limits, trust_env=True, auto_decompress=False) as session:
            yield session


def _whole(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


def _free(folder: Path) -> int | None:
    """Bytes left on the disk of a folder that need not exist yet."""
    place: Any = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None
