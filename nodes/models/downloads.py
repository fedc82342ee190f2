"""Get the judge: what the page may ask of a released judge that is not here, where this ComfyUI allows that.

A page names one of the pack's releases, never an address or a folder. Nothing is asked of the hub before somebody wants
to see what there is to fetch, and nothing is fetched before they agreed to that very version.
"""

from __future__ import annotations

import ipaddress
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from aiohttp import web

from ...rationalrewards_core.config_file import default_config_path, load_downloads
from ...rationalrewards_core.errors import ConfigError, DownloadError, StorageError
from ..http import refusal, whole_body

if TYPE_CHECKING:
    from ...rationalrewards_core.hub.download import DownloadState, JudgeDownload

PATH: Final = "/rationalrewards/judges/{judge}"
FOLDER: Final = "LLM"
BODY_LIMIT: Final = 1024
log = logging.getLogger("rationalrewards.nodes")


class DownloadRoutes:
    """The handlers, and the downloads of this process; the folder and the hub are looked up with the first request."""

    def __init__(self, folder: Callable[[], Path], hub: Callable[[], str]) -> None:
        self._folder, self._hub = folder, hub
        self._downloads: dict[str, JudgeDownload] = {}

    async def state(self, request: web.Request) -> web.Response:
        """GET -> what is here of a judge; see `_page`. 404 for what is no release."""

        async def seen(download: JudgeDownload) -> DownloadState:
            return download.state()

        return await self._answered(request, seen)

    async def ask(self, request: web.Request) -> web.Response:
        """POST -> the same, with the size and the commit that the hub states."""
        return await self._answered(request, lambda download: download.ask())

    async def start(self, request: web.Request) -> web.Response:
        """POST {"commit": the one that was shown} -> the same; 409 if that is not what would be fetched."""
        body = await whole_body(request, BODY_LIMIT)
        try:
            order = json.loads(body or b"")
        except (ValueError, RecursionError):
            order = None
        commit = order.get("commit") if isinstance(order, dict) else None
        if not isinstance(commit, str):
            return refusal(400, 'Send the version that was agreed to, such as {"commit": "0f3a..."}.')
        return await self._answered(request, lambda download: download.start(commit))

    async def stop(self, request: web.Request) -> web.Response:
        """POST -> the same; what has arrived is kept."""
        return await self._answered(request, lambda download: download.stop())

    async def discard(self, request: web.Request) -> web.Response:
        """POST -> the same; what has arrived is removed."""
        return await self._answered(request, lambda download: download.discard())

    def add_to(self, routes: web.RouteTableDef) -> None:
        routes.get(PATH)(self.state)
        for name in ("ask", "start", "stop", "discard"):
            routes.post(f"{PATH}/{name}")(getattr(self, name))

    async def _answered(
        self, request: web.Request, act: Callable[[JudgeDownload], Awaitable[DownloadState]]
    ) -> web.Response:
        if request.method == "POST" and not _from_own_page(request):
            return refusal(403, "Only ComfyUI's own page may fetch a judge.")
        download = self._download(request.match_info["judge"])
        if download is None:
            return refusal(404, "That is none of the judges that can be fetched.")
        try:
            return web.json_response(_page(download, await act(download)))
        except ConfigError as error:
            return refusal(409, str(error))
        except DownloadError as error:
            return refusal(502, str(error))
        except StorageError as error:
            log.error("%s", error)  # where that is, is nothing for a page
            return refusal(507, "The server's disk refused it; ComfyUI's log says where.")

    def _download(self, name: str) -> JudgeDownload | None:
        from ...rationalrewards_core.hub.download import JudgeDownload
        from ...rationalrewards_core.hub.releases import RELEASES

        if name in RELEASES and name not in self._downloads:
            self._downloads[name] = JudgeDownload(RELEASES[name], self._folder(), self._hub())
        return self._downloads.get(name)


def _page(download: JudgeDownload, state: DownloadState) -> dict[str, Any]:
    """{"name", "repository", "hub", "licence", "gigabytes", "checkpoint", and the fields of `DownloadState`}."""
    release = download.release
    about = {name: getattr(release, name) for name in ("name", "repository", "licence", "gigabytes")}
    return {**about, "hub": download.hub, "checkpoint": f"{FOLDER}/{release.name}", **asdict(state)}


def _from_own_page(request: web.Request) -> bool:
    """Whether a browser sent this from the page of this server: ComfyUI's own check looks at loopback names only."""
    origin = request.headers.get("Origin")
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return False
    return origin is None or urlsplit(origin).netloc.lower() == request.host.lower()


def downloads_allowed() -> bool:
    """As the config file says; else where one person uses this ComfyUI on the machine that it runs on."""
    from comfy.cli_args import args

    try:
        wish = load_downloads(default_config_path())
    except ConfigError as error:
        log.warning("Pages cannot fetch a judge: %s", error)
        return False
    return wish if wish is not None else not args.multi_user and _for_this_machine(str(args.listen))


def _for_this_machine(listen: str) -> bool:
    """Whether every address that ComfyUI listens on is this machine's own."""

    def loopback(address: str) -> bool:
        try:
            return ipaddress.ip_address(address.strip()).is_loopback
        except ValueError:
            return address.strip() == "localhost"

    return all(loopback(address) for address in listen.split(","))


def add_download_routes(routes: web.RouteTableDef) -> None:
    """Where they are allowed; else the page knows no such thing."""
    if not downloads_allowed():
        return
    DownloadRoutes(_folder, _hub).add_to(routes)


def _folder() -> Path:
    from .folders import roots

    return roots(FOLDER)[0]


def _hub() -> str:
    from ...rationalrewards_core.hub.releases import hub_address

    return hub_address()
