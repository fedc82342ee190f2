"""The judges that can be fetched. There are no others: a workflow or a page names one of these, never an address."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

HUB: Final = "https://huggingface.co"


@dataclass(frozen=True, kw_only=True)
class JudgeRelease:
    """A published judge."""

    name: str
    """Also the folder that it gets."""
    repository: str
    revision: str
    """A branch, which the hub answers with a commit: one download is of one commit."""
    licence: str
    gigabytes: int
    """About; the hub says how many bytes it is."""


RELEASES: Final = {
    name: JudgeRelease(name=name, repository=f"TIGER-Lab/{name}", revision="main", licence="Apache-2.0", gigabytes=18)
    for name in ("RationalRewards-8B-T2I", "RationalRewards-8B-Edit")
}


def hub_address() -> str:
    """The hub, or the mirror that the user's HF_ENDPOINT names, as Hugging Face's own tools read it."""
    mirror = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/")
    return mirror if urlsplit(mirror).scheme in ("http", "https") and urlsplit(mirror).hostname else HUB
