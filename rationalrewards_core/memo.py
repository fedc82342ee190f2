"""The memo: a critique asked for twice with the same settings is only paid for once.

Keys are content addresses: backend, sampling, mode, prompt texts and image pixels. Only critiques are kept;
a failure is asked again. In memory by default; with a path also on disk, across processes' lives.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from .backends.base import Sampling
from .critique import Critique, critique_from_json
from .messages import Message

log = logging.getLogger("rationalrewards.memo")


def memo_key(identity: str, messages: Sequence[Message], sampling: Sampling, mode: str) -> str:
    """Content address of one question to one backend (SHA-256, hexadecimal)."""
    question: dict[str, Any] = {
        "identity": identity,
        "mode": mode,
        "sampling": asdict(sampling),
        "messages": [
            [
                message.role,
                [["text", part] if isinstance(part, str) else _image_address(part) for part in message.parts],
            ]
            for message in messages
        ],
    }
    # JSON keeps parts apart whatever they contain; joined bytes could be told in two ways.
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()


def _image_address(image: Image.Image) -> list[str]:
    return ["image", image.mode, str(image.size), hashlib.sha256(image.tobytes()).hexdigest()]


class Memo:
    """Least recently used critiques leave first. Not shared between processes at the same time."""

    def __init__(self, limit: int = 4096, path: Path | None = None) -> None:
        self._limit, self._path = limit, path
        self._kept: OrderedDict[str, Critique] = OrderedDict()
        self.hits = 0
        self.misses = 0
        self._torn = False
        """Whether the file ends inside a line, so that the next one must not be glued to it."""
        if path is not None and path.exists():
            self._read(path)

    def get(self, key: str) -> Critique | None:
        critique = self._kept.get(key)
        if critique is None:
            self.misses += 1
            return None
        self.hits += 1
        self._kept.move_to_end(key)
        return critique

    def put(self, key: str, critique: Critique) -> None:
        self._insert(key, critique)
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                line = json.dumps({"key": key, "critique": critique.to_json()}) + "\n"
                file.write("\n" + line if self._torn else line)
            self._torn = False

    def __len__(self) -> int:
        return len(self._kept)

    def _insert(self, key: str, critique: Critique) -> None:
        self._kept[key] = critique
        self._kept.move_to_end(key)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)

    def _read(self, path: Path) -> None:
        broken = 0
        line = b"\n"
        with path.open("rb") as file:
            for line in file:
                try:
                    row = json.loads(line)
                    self._insert(row["key"], critique_from_json(row["critique"]))
                except (ValueError, KeyError, TypeError, RecursionError):
                    broken += bool(line.strip())
        self._torn = not line.endswith(b"\n")
        if broken:
            log.warning("%s: %d unreadable lines were skipped (a process was killed while writing)", path, broken)
