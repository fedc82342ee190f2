"""A loop's iterations on disk as they happen: an interrupt, an error or a crash loses none of them.

<temp>/rationalrewards/<prompt id>_<node>/    history.jsonl, step_000.webp, ... (`rationalrewards_core.loop.history`)

A picture is the file that the critique's card shows, under a second name.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

from ...rationalrewards_core.loop.history import History
from ...rationalrewards_core.loop.refine import RefineState, RefineStep
from ..show.previews import TempImage, link_file

ROOT = "rationalrewards"


class LoopFiles:
    """The folder of one run of one loop."""

    def __init__(self, temp: Path, prompt_id: str | None, node_id: str) -> None:
        """`node_id` is that of the loop's own node, different for every run of an inner loop."""
        name = f"{_plain(prompt_id or 'prompt')}_{_plain(node_id)}"
        number = 1
        while (temp / ROOT / name).exists():  # a client may send a prompt id twice
            number += 1
            name = f"{_plain(prompt_id or 'prompt')}_{_plain(node_id)}_{number}"
        self._temp = temp
        self._subfolder = f"{ROOT}/{name}"
        self._history = History(temp / ROOT / name)

    @property
    def folder(self) -> Path:
        return self._history.folder

    def start(self, state: RefineState) -> None:
        self._history.start(state)

    def add(self, step: RefineStep, picture: TempImage) -> TempImage:
        """Save a step with its picture, which is in the temp folder; the address of the loop's own name for it."""
        saved = self._temp / picture["filename"]
        name = f"step_{step.index:03d}{saved.suffix}"
        link_file(saved, self.folder / name)
        self._history.add(replace(step, image_file=name))
        return {"filename": name, "subfolder": self._subfolder, "type": "temp"}


def _plain(text: str) -> str:
    """A file name for an id: ids come from a client and may hold anything."""
    plain = re.sub(r"[^0-9A-Za-z-]", "_", text)[:60]
    return plain if plain == text else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
