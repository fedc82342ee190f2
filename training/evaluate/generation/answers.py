"""What a judge answered, on disk: one line per question, so that a killed run goes on and pays for nothing twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rationalrewards_core.jsonl import read_lines

from ...data.pairs import digest
from ...run_settings import settle
from .outputs import Scores

ANSWERS_FILE = "answers.jsonl"
RUN_FILE = "run.json"


@dataclass(frozen=True, kw_only=True)
class BenchmarkAnswer:
    """What became of one question. It has scores exactly if it has no reason."""

    key: str
    """Content address: output, question, and the bytes of the image."""
    output: str
    question: str
    scores: Scores | None
    reason: str = ""
    """Stable code of why there are no scores."""
    message: str = ""
    """The reason as a sentence."""
    reply: str = ""
    model: str = ""
    """As the server names it."""
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def kept(self) -> bool:
        """What the job runner counts by."""
        return self.scores is not None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def answer_from_json(table: Mapping[str, Any]) -> BenchmarkAnswer:
    """The inverse of `Answer.to_json`; a missing key is a KeyError, one too many a TypeError."""
    scores = table["scores"]
    return BenchmarkAnswer(**{**table, "scores": None if scores is None else tuple(float(score) for score in scores)})


def answer_key(output: str, question: str, image: str) -> str:
    """`image` is the hash of the image's bytes: an image made anew is asked about anew."""
    return digest([output, question, image])


class AnswerFolder:
    """The folder of one run: its settings and its answers."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """ConfigError if the folder holds answers that were had under other settings."""
        self.path = folder / ANSWERS_FILE
        settle(
            folder / RUN_FILE,
            settings,
            begun=bool(self.known()),
            holds=f"{folder} holds answers that were had under other settings",
            advice="choose another --out",
        )

    def known(self) -> dict[str, BenchmarkAnswer]:
        """Every answer that is here already, by key."""
        return {answer.key: answer for answer in read_lines(self.path, answer_from_json)}
