"""What a person prefers: questions asked by Preference Pick, and the answers clicked, in one folder per data set.

Data sets lie in output/rationalrewards/preferences; where ComfyUI has several users, each one's in a folder `@USER` there.

    picks.jsonl            one line per question, answer and undo, only ever appended (`PreferenceLog`)
    images/3f/3f9a....png  candidates and source images; the name is the SHA-256 of the file

An image is on the disk before the line that names it. Nothing is ever removed: an undo is a line that takes one answer
back, a second answer to a question replaces the first for as long as it stands.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Final, Literal

from PIL import Image

from ...rationalrewards_core.errors import ConfigError, RequestError
from ...rationalrewards_core.messages import UserRequest
from ...rationalrewards_core.storage import replace_file
from .log import PreferenceLog, Row

FILE: Final = "picks.jsonl"
FEWEST, MOST = 2, 8
"""Candidates of one question."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)", re.ASCII | re.IGNORECASE)
"""Names that Windows keeps for itself."""

Choice = int | Literal["tie", "bad"]
"""Place of the better candidate, from 0; or that none is better, or that all are bad."""


@dataclass(frozen=True, kw_only=True)
class PreferenceQuestion:
    """Candidates for one request, of which a person is to say the better one."""

    key: str
    """Content address of request and images: the same question is never asked twice."""
    request: str
    sources: tuple[str, ...]
    """Source images of an edit, by their place in the folder."""
    candidates: tuple[str, ...]
    rewards: tuple[float | None, ...]
    """What a judge gave each candidate; empty if none was asked."""


@dataclass(frozen=True, kw_only=True)
class PreferenceAnswer:
    key: str
    """Random, so that an undo names exactly one."""
    question: str
    choice: Choice


class PreferenceStore:
    """One data set. Its methods may be called from any thread."""

    def __init__(self, folder: Path, subfolder: str = "") -> None:
        """`subfolder` is where that is below ComfyUI's output folder, for pages."""
        self.folder, self.subfolder = folder, subfolder
        self._lock = threading.Lock()
        self._questions: dict[str, PreferenceQuestion] = {}
        self._answers: dict[str, PreferenceAnswer] = {}
        self._log = PreferenceLog(folder / FILE, self._apply, self._forget)

    @property
    def name(self) -> str:
        return self.folder.name

    def ask(
        self, request: UserRequest, pictures: Sequence[Image.Image], judge: Row | None, rewards: Sequence[float | None]
    ) -> PreferenceQuestion:
        """Put a question, unless it is there. `judge` is what a judge said, kept as it is."""
        if not FEWEST <= len(pictures) <= MOST:
            raise RequestError(f"Preference Pick takes {FEWEST} to {MOST} images, not {len(pictures)}.")
        sources = [self._keep(picture) for picture in request.sources]
        candidates = [self._keep(picture) for picture in pictures]
        key = hashlib.sha256(json.dumps([request.text, sources, candidates]).encode()).hexdigest()[:16]
        row = {
            "event": "question",
            "key": key,
            "time": _now(),
            "request": request.text,
            "sources": sources,
            "candidates": candidates,
            "rewards": list(rewards),
            "judge": judge,
        }
        with self._lock, self._log.writing() as append:
            earlier = self._questions.get(key)
            if earlier is None or (rewards and earlier.rewards != tuple(rewards)):
                append(row)
            return self._questions[key]

    def answer(self, question: str, choice: Choice) -> None:
        """Record an answer; the same answer again is none. ConfigError for what cannot be answered so."""
        with self._lock, self._log.writing() as append:
            entry = self._questions.get(question)
            if entry is None:
                raise ConfigError(f"There is no such question in {self.name}; queue the graph again.")
            if isinstance(choice, int) and not 0 <= choice < len(entry.candidates):
                raise ConfigError(f"That question has {len(entry.candidates)} images.")
            if self._standing().get(question) != choice:
                key = secrets.token_hex(8)
                append({"event": "answer", "key": key, "time": _now(), "question": question, "choice": choice})

    def undo(self, answer: str) -> str:
        """Take back an answer; gives the question that it answered. ConfigError if it does not stand."""
        with self._lock, self._log.writing() as append:
            entry = self._answers.get(answer)
            if entry is None:
                raise ConfigError("That answer has been taken back already.")
            append({"event": "undo", "time": _now(), "answer": answer})
            return entry.question

    def book(self) -> Book:
        """What stands now."""
        with self._lock:
            self._log.read()
            last = next(reversed(self._answers.values()), None)
            return Book(questions=dict(self._questions), choices=self._standing(), last=last, damaged=self._log.damaged)

    def _standing(self) -> dict[str, Choice]:
        return {answer.question: answer.choice for answer in self._answers.values()}

    def _apply(self, row: Row) -> None:
        if row["event"] == "question":
            self._questions[row["key"]] = PreferenceQuestion(
                key=row["key"],
                request=row["request"],
                sources=tuple(row["sources"]),
                candidates=tuple(row["candidates"]),
                rewards=tuple(row["rewards"]),
            )
        elif row["event"] == "answer":
            entry = self._questions[row["question"]]
            if row["choice"] not in ("tie", "bad", *range(len(entry.candidates))):
                raise ValueError(row["choice"])
            answer = PreferenceAnswer(key=row["key"], question=entry.key, choice=row["choice"])
            self._answers[answer.key] = answer
        elif row["event"] == "undo":
            del self._answers[row["answer"]]
        else:
            raise ValueError(row["event"])

    def _forget(self) -> None:
        self._questions.clear()
        self._answers.clear()

    def _keep(self, picture: Image.Image) -> str:
        """Write a picture under the name of its content; gives its place in the folder."""
        encoded = io.BytesIO()
        picture.save(encoded, format="PNG")
        name = hashlib.sha256(encoded.getvalue()).hexdigest()
        place = f"images/{name[:2]}/{name}.png"
        if not (self.folder / place).is_file():
            replace_file(self.folder / place, [encoded.getvalue()])
        return place


@dataclass(frozen=True, kw_only=True)
class Book:
    """Questions and the answers that stand, at one moment."""

    questions: dict[str, PreferenceQuestion]
    """By key, in the order in which they were asked."""
    choices: dict[str, Choice]
    """Question -> its answer."""
    last: PreferenceAnswer | None
    """The latest answer that stands: what an undo takes back."""
    damaged: int = 0
    """Lines of the file that could not be read, and count for nothing."""

    @property
    def waiting(self) -> list[str]:
        return [key for key in self.questions if key not in self.choices]

    def next_after(self, key: str | None) -> str | None:
        """The question to show after `key`: the next one waiting, from the beginning again; else `key` or the latest."""
        order = list(self.questions)
        start = order.index(key) + 1 if key in self.questions else 0
        around = order[start:] + order[:start]
        return next((each for each in around if each not in self.choices), around[-1] if around else None)


def preferences_subfolder(name: str, user: str | None = None) -> str:
    """Where a data set is, below ComfyUI's output folder. ConfigError for anything but a plain name.

    No data set's name begins like the folder of a user.
    """
    if not _NAME.fullmatch(name) or _DEVICES.fullmatch(name):
        raise ConfigError("Name the data set with letters, digits, - and _ only, such as portraits-2.")
    return "/".join((*SUBFOLDER, *(() if user is None else (f"@{user}",)), name))


SUBFOLDER: Final = ("rationalrewards", "preferences")
_STORES: dict[Path, PreferenceStore] = {}
_STORES_LOCK = threading.Lock()


def preference_store(name: str, user: str | None = None) -> PreferenceStore:
    """The one store of a data set in this process; `user` is None where all share. ConfigError for a name that is none."""
    import folder_paths

    subfolder = preferences_subfolder(name, user)
    folder = Path(folder_paths.get_output_directory(), subfolder)
    with _STORES_LOCK:
        return _STORES.setdefault(folder, PreferenceStore(folder, subfolder))


def known_store(name: str, user: str | None = None) -> PreferenceStore | None:
    """The same; None where nothing was ever asked."""
    store = preference_store(name, user)
    return store if (store.folder / FILE).is_file() else None


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
