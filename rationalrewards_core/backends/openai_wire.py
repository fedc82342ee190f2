"""The OpenAI chat protocol as plain JSON: what is sent, and how to read what comes back. No network here.

Servers differ in what they send, so every reader takes any JSON and says None, or leaves out, what it
cannot use.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Final

from PIL import Image

from ..images import data_url, for_server
from ..messages import Message
from ..numerals import finite_number
from ..picture_grid import PictureGrid
from ..thinking import thinks_aloud
from .base import TokenChoice

LONGEST_COMPLAINT: Final = 300
"""Characters of a server's own words in one of our errors."""
LIKELY_SECRET: Final = 8
"""Keys at least this long are hidden wherever they occur; shorter ones (`EMPTY`) only as a word of their own."""
HIDDEN: Final = "[key]"
_TEXT_TYPES: Final = ("text", "output_text", None)
"""What servers call a part of a reply's text; some do not call it anything."""


def wire_messages(
    messages: Sequence[Message], max_pixels: int, grid: PictureGrid | None = None
) -> list[dict[str, Any]]:
    """Messages in the OpenAI form: text-only ones as strings, others as lists of parts.

    Pictures are scaled as `grid` says; without one only those that have more than `max_pixels`.
    """
    wire: list[dict[str, Any]] = []
    for message in messages:
        if not message.images:
            wire.append({"role": message.role, "content": message.text})
            continue
        parts: list[dict[str, Any]] = [
            {"type": "text", "text": part}
            if isinstance(part, str)
            else {"type": "image_url", "image_url": {"url": data_url(_scaled(part, max_pixels, grid))}}
            for part in message.parts
        ]
        wire.append({"role": message.role, "content": parts})
    return wire


def _scaled(picture: Image.Image, max_pixels: int, grid: PictureGrid | None) -> Image.Image:
    return for_server(picture, max_pixels) if grid is None else grid.fit(picture, max_pixels)


def grammar_option(names: Sequence[str], grammar: str) -> dict[str, Any]:
    """The request fields, under each of these names, that ask for a reply in this grammar."""
    return {name: {"grammar": grammar} if name == "structured_outputs" else grammar for name in names}


def json_object(text: str) -> dict[str, Any] | None:
    """The JSON object that a text is, or None if it is anything else."""
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return table if isinstance(table, dict) else None


def complaint(text: str, key: str) -> str:
    """What a server says in an error, as one short line without the key."""
    answer = json_object(text)
    words: Any = text
    if answer is not None:
        words = answer.get("error") or answer
        if isinstance(words, dict):
            words = words.get("message") or words.get("detail") or words
    line = redacted(" ".join(_whole(str(words)).split()), key)
    return line[:LONGEST_COMPLAINT] or "(no explanation)"


def redacted(text: str, key: str) -> str:
    """The text with the key hidden: servers and proxies do quote it."""
    if len(key) >= LIKELY_SECRET:
        return text.replace(key, HIDDEN)
    return re.sub(rf"(?<!\w){re.escape(key)}(?!\w)", HIDDEN, text) if key else text


def retry_seconds(retry_after: str | None) -> float | None:
    """Retry-After as seconds: a number or an HTTP date; None if absent or unreadable."""
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            moment = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        seconds = (moment - datetime.now(timezone.utc)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def first_choice(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """The answer's first choice, if it has one with a message; servers may send choices in any order."""
    choices = answer.get("choices")
    listed = [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    choice = next((choice for choice in listed if choice.get("index") == 0), next(iter(listed), None))
    return choice if choice is not None and isinstance(choice.get("message"), dict) else None


def content_text(content: Any) -> str | None:
    """The text of a message's content: a string, or a list of text parts; None if there is none.

    Parts of another type, such as `thinking`, are none of the reply.
    """
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") in _TEXT_TYPES]
        content = "".join(text for text in texts if isinstance(text, str)) if texts else None
    return _whole(content) if isinstance(content, str) else None


def thoughts(answer: Mapping[str, Any]) -> str:
    """What the model thought before its reply, where the server sets that apart or leaves it before the reply."""
    message = (first_choice(answer) or {"message": {}})["message"]
    apart = [content_text(message.get(key)) for key in ("reasoning_content", "reasoning")]
    body = content_text(message.get("content")) or ""
    return next((text for text in apart if text), "") or (body if thinks_aloud(body) else "")


def _whole(text: str) -> str:
    """The text without half characters: JSON can spell a lone surrogate, and no file can hold one."""
    return text.encode("utf-8", "replace").decode("utf-8")


def listed_model(answer: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The entry of that name in a list of models, else the first one, else nothing."""
    listed = answer.get("data")
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    return next(iter([entry for entry in entries if entry.get("id") == name] or entries), {})


def named_alike(asked_for: str, answering: str) -> bool:
    """Whether a model answers under the name it was asked by; some servers append the revision."""
    return answering.partition("@")[0] == asked_for.partition("@")[0]


def model_digest(entry: Mapping[str, Any]) -> str:
    """Digest of what a server's list says of its model; empty if nothing.

    Times and permissions change by themselves, and the context is the server's, not the model's.
    """
    lasting = {key: entry[key] for key in ("id", "root", "parent", "meta") if entry.get(key) is not None}
    if isinstance(lasting.get("meta"), dict):
        lasting["meta"] = {key: value for key, value in lasting["meta"].items() if key != "n_ctx"}
    return hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()[:16] if lasting else ""


def token_count(usage: Any, name: str) -> int:
    """One number of the answer's usage; 0 if the server does not tell."""
    count = usage.get(name) if isinstance(usage, dict) else None
    return max(0, count) if isinstance(count, int) else 0


def token_choices(logprobs: Any) -> tuple[TokenChoice, ...]:
    """OpenAI's `logprobs.content` as token choices; nothing at all if a token of it has another form."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list):
        return ()
    choices = []
    for row in content:
        if not isinstance(row, dict) or not isinstance(row.get("token"), str):
            return ()
        top = row.get("top_logprobs")
        alternatives = [_alternative(entry) for entry in top] if isinstance(top, list) else []
        pairs = [pair for pair in alternatives if pair is not None]
        own = _alternative(row)
        if pairs and own is not None and own[0] not in dict(pairs):
            pairs.append(own)  # drawn, or chosen by a grammar, from below the most likely ones
        choices.append(TokenChoice(row["token"], tuple(pairs)))
    return tuple(choices)


def _alternative(entry: Any) -> tuple[str, float] | None:
    """(token, probability), or None for what is neither; a little above 1 is a server's rounding."""
    if not isinstance(entry, dict) or not isinstance(entry.get("token"), str):
        return None
    logprob = finite_number(entry.get("logprob"))
    if logprob is None or logprob > 0.01:
        return None
    return entry["token"], min(1.0, math.exp(logprob))
