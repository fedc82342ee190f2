"""The memo: a critique asked for twice with the same settings is only paid for once.

Keys are content addresses: backend, sampling, mode, prompt texts and image pixels. Only critiques are kept;
a failure is asked again. A question that is being asked is not asked a second time beside it. In memory by default; with a path also on disk, across processes' lives.
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
from .errors import ConfigError
from .jsonl import DamagedLine, LineWriter, Row, read_lines
from .messages import Message
from .shared_calls import SharedCalls

log = logging.getLogger("rationalrewards.memo")


Address = list[list[Any]]
"""What messages say and show; images by their pixels' digest."""


def memo_key(identity: str, messages: Sequence[Message], sampling: Sampling, mode: str) -> str:
    """Content address of one question to one backend (SHA-256, hexadecimal)."""
    return address_key(identity, address(messages), sampling, mode)


def address(messages: Sequence[Message]) -> Address:
    """The costly half of a key, for who needs several keys of the same messages: every pixel is read."""
    return [
        [message.role, [["text", part] if isinstance(part, str) else _image_address(part) for part in message.parts]]
        for message in messages
    ]


def address_key(identity: str, messages: Address, sampling: Sampling, mode: str) -> str:
    """`memo_key` of messages with this address."""
    question: dict[str, Any] = {"identity": identity, "mode": mode, "sampling": asdict(sampling), "messages": messages}
    # JSON keeps parts apart whatever they contain; joined bytes could be told in two ways.
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()


def _image_address(image: Image.Image) -> list[str]:
    return ["image", str(image.size), hashlib.sha256(image.tobytes()).hexdigest()]


class Memo:
    """Least recently used critiques leave first. Processes may add to one file; each reads it when it starts."""

    def __init__(self, limit: int = 4096, path: Path | None = None) -> None:
        self._limit, self._path = limit, path
        self._kept: OrderedDict[str, Critique] = OrderedDict()
        self.calls: SharedCalls[Critique] = SharedCalls()
        """Questions being asked now, by key."""
        self.hits = 0
        self.misses = 0
        if path is not None:
            self._read(path)

    def get(self, *keys: str) -> Critique | None:
        """What is kept under the first of these keys that is known."""
        for key in keys:
            if key in self._kept:
                self.hits += 1
                self._kept.move_to_end(key)
                return self._kept[key]
        self.misses += 1
        return None

    def put(self, key: str, critique: Critique) -> None:
        self._insert(key, critique)
        if self._path is not None:
            with LineWriter(self._path, wait=True) as lines:
                lines.append({"key": key, "critique": critique.to_json()})

    def __len__(self) -> int:
        return len(self._kept)

    def _insert(self, key: str, critique: Critique) -> None:
        self._kept[key] = critique
        self._kept.move_to_end(key)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)

    def _read(self, path: Path) -> None:
        damaged: list[DamagedLine] = []
        for key, critique in read_lines(path, _entry, damaged.append):
            self._insert(key, critique)
        if damaged and not self._kept:
            raise ConfigError(f"{path} holds no critiques; choose another file for the memo.")
        if damaged:
            log.warning("%s: %d unreadable lines were skipped; what they held is asked again", path, len(damaged))


def _entry(row: Row) -> tuple[str, Critique]:
    key = row["key"]
    if not isinstance(key, str):
        raise TypeError(f"the key {key!r} is no text")
    return key, critique_from_json(row["critique"])
