"""What the hub says of a release: its commit, its files, and for each file the hash that what arrives is held against."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from ..errors import DownloadError
from .releases import JudgeRelease

if TYPE_CHECKING:
    import aiohttp

SUFFIXES: Final = (".safetensors", ".json", ".jinja", ".txt", ".md")
"""Of files that a judge is read from, or that say what it is. No code, no pickles."""
BARE_NAMES: Final = ("LICENSE", "NOTICE")
MOST_BYTES: Final = 4_000_000
"""Of one answer of the hub's API."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}", re.ASCII)
_HASHES = {"sha256": re.compile(r"[0-9a-f]{64}", re.ASCII), "git": re.compile(r"[0-9a-f]{40}", re.ASCII)}


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """A file of a release."""

    name: str
    """Without a folder."""
    size: int
    """Bytes."""
    hash_kind: str
    """`sha256` of the content, or `git`: SHA-1 of a git blob, which the hub states of small files."""
    hash: str


@dataclass(frozen=True, kw_only=True)
class Listing:
    """One commit of a release."""

    repository: str
    commit: str
    files: tuple[HubFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)


def read_listing(text: str) -> Listing:
    """What `to_json` wrote. DownloadError if it is something else."""
    try:
        table = json.loads(text)
        files = tuple(HubFile(**row) for row in table["files"])
        listing = Listing(repository=table["repository"], commit=table["commit"], files=files)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DownloadError("The list of what to fetch is damaged; discard what arrived and begin again.") from error
    if not files or not all(isinstance(file.name, str) and _NAME.fullmatch(file.name) for file in files):
        raise DownloadError("The list of what to fetch names odd files; discard what arrived and begin again.")
    return listing


async def ask_listing(session: aiohttp.ClientSession, hub: str, release: JudgeRelease) -> Listing:
    """The newest commit of a release. DownloadError in one sentence if the hub does not say."""
    models = f"{hub}/api/models/{release.repository}"
    about = await _json(session, f"{models}/revision/{release.revision}", hub)
    commit = about.get("sha") if isinstance(about, dict) else None
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise DownloadError(f"{hub} does not say which commit {release.repository} is at; try again later.")
    rows = await _json(session, f"{models}/tree/{commit}", hub)
    files = tuple(file for row in rows if (file := _file(row)) is not None) if isinstance(rows, list) else ()
    names = {file.name for file in files}
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        raise DownloadError(f"{release.repository} at {hub} lists no checkpoint; fetch it by hand, or try again later.")
    return Listing(repository=release.repository, commit=commit, files=files)


def _file(row: Any) -> HubFile | None:
    """None for a folder, and for a file that no judge is read from."""
    if not isinstance(row, dict) or row.get("type") != "file" or not isinstance(row.get("path"), str):
        return None
    name = row["path"]
    if not _NAME.fullmatch(name) or not (name.endswith(SUFFIXES) or name in BARE_NAMES):
        return None
    large = row.get("lfs")
    kind, source = ("sha256", large) if isinstance(large, dict) else ("git", row)
    size, digest = source.get("size", row.get("size")), str(source.get("oid", "")).removeprefix("sha256:")
    if type(size) is not int or size < 0 or not _HASHES[kind].fullmatch(digest):
        raise DownloadError(f"The hub states no hash of {name}, so that it could not be checked; nothing was fetched.")
    return HubFile(name=name, size=size, hash_kind=kind, hash=digest)


async def _json(session: aiohttp.ClientSession, address: str, hub: str) -> Any:
    import aiohttp

    try:
        async with session.get(address) as answer:
            if answer.status != 200:
                raise DownloadError(f"{hub} answered HTTP {answer.status} when asked for the list of files.")
            body = b""
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > MOST_BYTES:
                    raise DownloadError(f"{hub} answered with a list that is too long.")
            return json.loads(body)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise DownloadError(f"{hub} cannot be reached ({type(error).__name__}); look at the connection.") from error
    except (ValueError, RecursionError) as error:
        raise DownloadError(f"{hub} answered with something that is no list of files.") from error
