"""Preference Pick in the tests: stores in folders of their own, and pictures of one colour."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from tests.nodes.comfy_stub import Pack


def colours(*shades: int) -> list[Image.Image]:
    return [Image.new("RGB", (6, 4), (shade, 20, 40)) for shade in shades]


class Desk:
    """One data set that is asked and answered through its store, as the node and the routes do."""

    def __init__(self, pack: Pack, folder: Path) -> None:
        self.pack, self.folder = pack, folder
        self.store = self.opened()

    def opened(self) -> Any:
        """A store that knows nothing but the folder: what another process, or the next one, sees."""
        return self.pack.module("nodes.preferences.store").PreferenceStore(self.folder)

    def ask(self, *shades: int, request: str = "a cat", rewards: tuple[float | None, ...] = ()) -> str:
        asked = self.pack.core("messages").UserRequest(request)
        judge = {"said": "words"} if rewards else None
        return str(self.store.ask(asked, colours(*shades), judge, rewards).key)

    @property
    def choices(self) -> dict[str, Any]:
        return dict(self.store.book().choices)

    @property
    def log(self) -> Path:
        return self.folder / "picks.jsonl"

    @property
    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.log.read_text(encoding="utf-8").splitlines()]
