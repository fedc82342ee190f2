"""What a job writes: one record per question to a model, complete in itself, as one line of JSON.

A record carries its pair, the reply word for word, why it was dropped (if it was), where it came from and what it cost.
It holds no clock: the same questions give the same lines, however often the job was killed.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from .pairs import PreferencePair


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a reply came from."""

    model: str
    """As the server names it."""
    prompt: str
    """Hash of the prompt's fixed texts (rubric and stage)."""
    question: str
    """Hash of the whole question, images included."""
    rubric: str
    temperature: float
    seed: int | None
    """None where nothing was drawn."""
    version: str
    """Version of this project."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a record cost, replies that could not be used included."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Record:
    """What all stages write."""

    key: str
    """Unique in the stage: the pair's key and what was asked about it."""
    pair: PreferencePair
    reason: str = ""
    """Stable code of why it was dropped; empty if it was kept."""
    message: str = ""
    """The reason as a sentence."""
    reply: str = field(default="", repr=False)
    """The teacher's words; the last ones where it was asked again."""
    provenance: Provenance | None = None
    """None if no question was asked."""
    usage: Usage = field(default_factory=Usage)

    @property
    def kept(self) -> bool:
        return not self.reason

    def to_json(self) -> dict[str, Any]:
        table = {f.name: getattr(self, f.name) for f in fields(self)}
        table |= {"kept": self.kept, "pair": self.pair.to_json(), "usage": asdict(self.usage)}
        table["provenance"] = None if self.provenance is None else asdict(self.provenance)
        return table


def reply_hash(text: str) -> str:
    """What joins a record of the pipeline to a line of the teacher's log."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
