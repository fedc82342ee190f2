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
    digest = hashlib.sha256()
    head: dict[str, Any] = {"identity": identity, "mode": mode, **asdict(sampling)}
    digest.update(json.dumps(head, sort_keys=True).encode())
    for message in messages:
        digest.update(f"\0role:{message.role}".encode())
        for part in message.parts:
            digest.update(b"\0text:" + part.encode() if isinstance(part, str) else b"\0image:" + _image_digest(part))
    return digest.hexdigest()


def _image_digest(image: Image.Image) -> bytes:
    return hashlib.sha256(f"{image.mode}{image.size}".encode() + image.tobytes()).digest()


class Memo:
    """Least recently used critiques leave first. Not shared between processes at the same time."""

    def __init__(self, limit: int = 4096, path: Path | None = None) -> None:
        self._limit, self._path = limit, path
        self._kept: OrderedDict[str, Critique] = OrderedDict()
        self.hits = 0
        self.misses = 0
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
                file.write(json.dumps({"key": key, "critique": critique.to_json()}) + "\n")

    def __len__(self) -> int:
        return len(self._kept)

    def _insert(self, key: str, critique: Critique) -> None:
        self._kept[key] = critique
        self._kept.move_to_end(key)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)

    def _read(self, path: Path) -> None:
        broken = 0
        with path.open(encoding="utf-8") as file:
            for line in file:
                try:
                    row = json.loads(line)
                    self._insert(row["key"], critique_from_json(row["critique"]))
                except (ValueError, KeyError, TypeError):
                    broken += 1
        if broken:
            log.warning("%s: %d unreadable lines were skipped (a process was killed while writing)", path, broken)
