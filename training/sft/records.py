"""The exported data: chat-format JSONL beside its images, read one line at a time.

A line is `{"messages": [...], "images": [...], "request_id": ..., "split": ..., "provenance": {...}}`, or has `prompt`
and `completion` (lists of messages, as TRL reads them) in place of `messages`. Content is a
list of parts (`{"type": "text", "text": ...}`, `{"type": "image", "image": "images/x.png"}`), or a text in which
`<image>` stands for the next of `images`, as ShareGPT files have it. The last message is the assistant's answer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rationalrewards_core.errors import ConfigError, RequestError
from rationalrewards_core.images import MAX_PIXELS, open_image
from rationalrewards_core.messages import Message, Role
from rationalrewards_core.storage import check_finished

MARKER = "<image>"


@dataclass(frozen=True)
class ChatTurn:
    """A message whose images are still files."""

    role: Role
    parts: tuple[str | Path, ...]


@dataclass(frozen=True)
class ChatRecord:
    """One example: a prompt and the answer to learn."""

    turns: tuple[ChatTurn, ...]
    answer: str
    request_id: str
    origin: str
    """File and line, for messages."""

    @property
    def images(self) -> tuple[Path, ...]:
        return tuple(part for turn in self.turns for part in turn.parts if isinstance(part, Path))

    @property
    def texts(self) -> list[str]:
        """Of the prompt and the answer."""
        return [*_texts(self.turns), self.answer]

    def messages(self) -> tuple[Message, ...]:
        """The prompt with its images as a judge would see them. ConfigError for one that cannot be read."""
        try:
            return tuple(
                Message(turn.role, tuple(p if isinstance(p, str) else open_image(p, MAX_PIXELS) for p in turn.parts))
                for turn in self.turns
            )
        except RequestError as error:
            raise ConfigError(f"{self.origin}: {error}") from error


class ChatFile:
    """A JSONL file of records; memory holds a position per line, not the lines. Reading a record that is none raises."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ConfigError(f"There is no {path}; export the data with `python -m training.parrot export` first.")
        check_finished(path.parent, "export it again by the same command")
        self.path = path
        self._starts: list[tuple[int, int]] = []
        with path.open("rb") as file:
            position = 0
            for number, line in enumerate(file, 1):
                if line.strip():
                    self._starts.append((position, number))
                position += len(line)
        if not self._starts:
            raise ConfigError(f"{path} has no examples.")

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> ChatRecord:
        position, number = self._starts[index]
        with self.path.open("rb") as file:
            file.seek(position)
            line = file.readline()
        origin = f"{self.path}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{origin}: not a line of JSON: {error}.") from error
        return chat_record(row, self.path.parent, origin)


def chat_record(row: Any, folder: Path, origin: str) -> ChatRecord:
    """Read one line's table. ConfigError names the line and what is wrong with it."""
    messages = _messages(row)
    if not isinstance(messages, list) or len(messages) < 2:
        raise ConfigError(f"{origin}: 'messages' must be a list of at least a question and its answer.")
    listed = row.get("images") or []
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise ConfigError(f"{origin}: 'images' must be a list of file names.")
    waiting = list(listed)
    turns = tuple(_turn(message, folder, origin, waiting) for message in messages)
    *question, answer = turns
    if answer.role != "assistant" or any(isinstance(part, Path) for part in answer.parts):
        raise ConfigError(f"{origin}: the last message must be the assistant's, in text alone.")
    if [turn.role for turn in question] not in (["user"], ["system", "user"]):
        raise ConfigError(f"{origin}: before the answer there must be one user message, and at most a system message.")
    used = sum(isinstance(part, Path) for turn in question for part in turn.parts)
    if listed and used != len(listed):
        raise ConfigError(f"{origin}: {len(listed)} images are listed and {used} are placed in the messages.")
    text = "".join(str(part) for part in answer.parts)
    if not text.strip():
        raise ConfigError(f"{origin}: the answer is empty.")
    if any("\ud800" <= character <= "\udfff" for part in (text, *_texts(question)) for character in part):
        raise ConfigError(f"{origin}: a text holds half of a character (a lone surrogate); write it again.")
    return ChatRecord(tuple(question), text, str(row.get("request_id", "")), origin)


def _texts(turns: Sequence[ChatTurn]) -> list[str]:
    return [part for turn in turns for part in turn.parts if isinstance(part, str)]


def _messages(row: Any) -> Any:
    """`messages`, or `prompt` and `completion` one after the other."""
    if not isinstance(row, dict) or "messages" in row:
        return row.get("messages") if isinstance(row, dict) else None
    prompt, completion = row.get("prompt"), row.get("completion")
    return [*prompt, *completion] if isinstance(prompt, list) and isinstance(completion, list) else None


def _turn(message: Any, folder: Path, origin: str, waiting: list[str]) -> ChatTurn:
    role = message.get("role") if isinstance(message, dict) else None
    if role not in ("system", "user", "assistant"):
        raise ConfigError(f"{origin}: a message's role must be system, user or assistant, not {role!r}.")
    content = message.get("content")
    if isinstance(content, str):
        content = _parts_of_text(content) if waiting and role == "user" else [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise ConfigError(f"{origin}: a message's content must be a text or a list of parts.")
    return ChatTurn(role, tuple(_part(part, folder, origin, waiting) for part in content))


def _parts_of_text(text: str) -> list[dict[str, str]]:
    """ShareGPT's way of placing images. Only for files that list them, so that user text cannot place one."""
    parts: list[dict[str, str]] = []
    for index, piece in enumerate(text.split(MARKER)):
        parts += [{"type": "image"}] if index else []
        parts += [{"type": "text", "text": piece}] if piece else []
    return parts


def _part(part: Any, folder: Path, origin: str, waiting: list[str]) -> str | Path:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    if kind != "image":
        raise ConfigError(f"{origin}: a part must be a text or an image, not {part!r:.80}.")
    name = part.get("image")
    if name is None:
        if not waiting:
            raise ConfigError(f"{origin}: the messages place more images than 'images' lists.")
        name = waiting[0]
    if waiting:
        waiting.pop(0)
    return inside(folder, name, origin)


def inside(folder: Path, name: Any, origin: str) -> Path:
    """A file of the export's own folder; anything else in a data file is refused."""
    path = Path(str(name))
    if not isinstance(name, str) or path.is_absolute() or ".." in path.parts:
        raise ConfigError(f"{origin}: image {name!r} must be a path inside {folder}.")
    return folder / path
