"""What a chat request asks of the teacher: recognised by the pipeline's own prompt texts."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from PIL import Image

from rationalrewards_core.comparison import Verdict
from rationalrewards_core.errors import RequestError
from rationalrewards_core.images import open_image
from rationalrewards_core.messages import WORD_JOINER
from rationalrewards_core.rubric import SCORE_A, Kind

from ...parrot.prompts import TeacherTexts

AskKind = Literal["anchored", "comparison", "check", "projection", "critique"]
REQUEST_LABEL: Final = "User Instruction: "
MOST_PIXELS: Final = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One question."""

    kind: AskKind
    request: str
    images: tuple[Image.Image, ...]
    """Sources first, then the candidates; none for a check from text."""
    label: Verdict | None = None
    """The outcome that was told (anchored), or which image of the notes this one is (projection)."""
    notes: str = ""
    address: str = ""
    """Everything that the answer may depend on, as one text."""

    @property
    def rubric_kind(self) -> Kind:
        candidates = 1 if self.kind in ("projection", "critique") else 2
        return "edit" if len(self.images) > candidates else "generation"


def read_ask(body: Mapping[str, Any], texts: TeacherTexts) -> Ask:
    """Raises RequestError for what is none of the pipeline's questions."""
    content = body["messages"][-1]["content"]
    parts: list[dict[str, Any]] = [{"type": "text", "text": content}] if isinstance(content, str) else content
    text = "".join(part["text"] for part in parts if part["type"] == "text").replace(WORD_JOINER, "")
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    images = tuple(_image(url) for url in urls)
    address = "\x1f".join([text, *urls, str(body.get("temperature")), str(body.get("seed"))])
    question = texts.consistency.question_images if images else texts.consistency.question
    if question in text:
        notes = _between(text, f"{texts.consistency.notes_label}\n", question)
        request = _between(text, texts.consistency.request_label, "\n")
        return Ask(kind="check", request=request, images=images, notes=notes, address=address)
    request = _between(text, REQUEST_LABEL, "\n")
    for place, name in ((Verdict.A, texts.projection.first_name), (Verdict.B, texts.projection.second_name)):
        opening = texts.projection.opening.replace("{letter}", name)
        if opening in text:
            notes = text.split(opening, 1)[1].split(texts.projection.notes_label, 1)[1]
            return Ask(kind="projection", request=request, images=images, label=place, notes=notes, address=address)
    if texts.anchored.opening in text:
        label_text = text.split(texts.anchored.opening, 1)[1]
        for verdict in Verdict:
            if texts.anchored.label(verdict) in label_text:
                return Ask(kind="anchored", request=request, images=images, label=verdict, address=address)
    kind: AskKind = "comparison" if f"## {SCORE_A}" in text else "critique"
    return Ask(kind=kind, request=request, images=images, address=address)


def _between(text: str, before: str, after: str) -> str:
    _, mark, rest = text.partition(before)
    if not mark:
        raise RequestError(f"The question has no {before.strip()!r} in it.")
    return rest.partition(after)[0]


def _image(url: str) -> Image.Image:
    try:
        return open_image(base64.b64decode(url.partition(",")[2], validate=True), MOST_PIXELS)
    except (binascii.Error, ValueError) as error:
        raise RequestError("An image is not a base64 data URL.") from error
