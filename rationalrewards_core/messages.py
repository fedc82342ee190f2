"""User request + rubric + images -> chat messages. Pure: no model, no network.

Messages are lists of parts. User text becomes one text part next to fixed ones; it is never
substituted into a template and never split, so `<image>`, braces, headings or any script in it
change nothing but itself. Chat-control tokens (`<|im_end|>` and the like) are the one exception: chat
servers render messages to one string before tokenising, so an invisible U+2060 is put inside
them, which leaves the text looking the same and takes away its power.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal

from PIL import Image

from .errors import RequestError
from .judge_profile import JudgeProfile
from .limits import MAX_REQUEST_CHARACTERS
from .pixels import judgeable
from .reply_layout import Slot, reply_layout, written_out
from .rubric import NOT_APPLICABLE, WINNERS, Rubric

ASPECTS_HEADING: Final = "### Critical Aspects & Scoring Rubric"
METHODOLOGY_HEADING: Final = "### Scoring Methodology (CRITICAL)"

WORD_JOINER: Final = "\u2060"

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Message:
    """One turn; `parts` are texts and images in reading order.

    This is every picture's way in: backends find plain upright RGB whatever Python, a file or a tensor gave
    (`pixels.judgeable`). Raises RequestError for what no judge can see.
    """

    role: Role
    parts: tuple[str | Image.Image, ...]

    def __post_init__(self) -> None:
        parts = tuple(part if isinstance(part, str) else judgeable(part) for part in self.parts)
        object.__setattr__(self, "parts", parts)

    @property
    def images(self) -> tuple[Image.Image, ...]:
        return tuple(part for part in self.parts if not isinstance(part, str))

    @property
    def text(self) -> str:
        return "".join(part for part in self.parts if isinstance(part, str))


@dataclass(frozen=True)
class UserRequest:
    """What the user asked for: text, and the source images of an edit."""

    text: str
    sources: tuple[Image.Image, ...] = ()

    def __post_init__(self) -> None:
        if len(self.text) > MAX_REQUEST_CHARACTERS:
            raise RequestError(
                f"The request has {len(self.text)} characters; shorten it to at most {MAX_REQUEST_CHARACTERS}."
            )
        if not any(_is_visible(character) for character in self.text):
            raise RequestError("The request is empty; say what the image should show.")
        if any("\ud800" <= character <= "\udfff" for character in self.text):
            raise RequestError("The request holds half of a character (a lone surrogate); write it again.")


def _is_visible(character: str) -> bool:
    """Whether a request of this character alone says anything: spaces, control and format characters do not."""
    return unicodedata.category(character) not in ("Cc", "Cf", "Zs", "Zl", "Zp")


@cache
def _control() -> re.Pattern[str]:
    """Chat-control tokens of the model families; compiled when the first request is made, for it takes a while."""
    return re.compile(
        r"<(?=[|｜][^|｜<>\s]{1,60}[|｜]>)"  # Qwen, Llama, Phi, GLM; DeepSeek writes full-width bars
        r"|<(?=/?(?:image|img|video|audio|think|tool_call|tool_response|s|pad|unk|bos|eos)>)"
        r"|<(?=(?:start|end)_of_(?:turn|image|utterance)>|image_soft_token>|fake_token_around_image>)"  # Gemma, Idefics
        r"|<(?=IMG_CONTEXT>|/?(?:box|quad|ref|slice|image_id)>|<?/?SYS>)"  # InternVL, MiniCPM-V, Llama 2
        r"|\[(?=/?(?:INST|IMG|SYS|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|SYSTEM_PROMPT|IMG_BREAK|IMG_END)\])",  # Mistral
        re.IGNORECASE,
    )


def defused(text: str) -> str:
    """User text with chat-control tokens made harmless; everything else is unchanged."""
    return _control().sub(lambda match: match.group() + WORD_JOINER, text)


def critique_messages(request: UserRequest, candidate: Image.Image, rubric: Rubric) -> tuple[Message, ...]:
    """The prompt for one absolute critique of `candidate`."""
    _check_sources(request, rubric)
    _check_pictures(*request.sources, candidate)
    if rubric.profile is not None:
        return _in_its_own_words(rubric.profile, request, {"candidate": candidate})
    wording = rubric.wording
    parts: list[str | Image.Image] = [_opening(request, wording.request_label, wording.images_line)]
    for source in request.sources:
        parts += [wording.source_label, source, "\n"]
    parts += [wording.candidate_label, candidate]
    if rubric.layout.guidelines:
        parts.append("\n\n" + guidelines(rubric))
    return _conversation(wording.system, parts)


def pairwise_messages(
    request: UserRequest, first: Image.Image, second: Image.Image, rubric: Rubric
) -> tuple[Message, ...]:
    """The prompt for one comparison; `first` is called A in the reply."""
    _check_sources(request, rubric)
    _check_pictures(*request.sources, first, second)
    if rubric.profile is not None:
        return _in_its_own_words(rubric.profile, request, {"first": first, "second": second})
    wording = rubric.pairwise
    parts: list[str | Image.Image] = [_opening(request, rubric.wording.request_label, wording.images_line)]
    for source in request.sources:
        parts += [rubric.wording.source_label, source, "\n"]
    parts += [wording.first_label, first, "\n", wording.second_label, second]
    parts.append("\n\n" + pairwise_guidelines(rubric))
    return _conversation(wording.system, parts)


def _in_its_own_words(
    profile: JudgeProfile, request: UserRequest, pictures: dict[str, Image.Image]
) -> tuple[Message, ...]:
    """The question of a judge profile. The source of an edit is its first: no published prompt has places for more."""
    if len(request.sources) > 1:
        raise RequestError(f"This judge takes one source image, not {len(request.sources)}.")
    values: dict[str, Any] = {"request": defused(request.text), **pictures}
    if request.sources:
        values["source"] = request.sources[0]
    return _conversation(profile.system, profile.filled(values))


def guidelines(rubric: Rubric) -> str:
    """The instructions of an absolute critique: dimensions, anchors, method, output format."""
    wording = rubric.wording
    optional = [d.title for d in rubric.dimensions if d.optional]
    blocks = [
        _filled(wording.introduction, rubric),
        ASPECTS_HEADING + "\n" + _aspects(rubric),
        METHODOLOGY_HEADING + "\n" + _filled(wording.methodology, rubric) if wording.methodology else "",
        _filled(wording.not_applicable, rubric) if optional else "",
        _filled(wording.refinement, rubric) if rubric.layout.refinement else "",
        wording.output,
        reply_format(rubric),
    ]
    return "\n\n".join(block.strip() for block in blocks if block.strip())


def pairwise_guidelines(rubric: Rubric) -> str:
    """The instructions of a comparison."""
    optional = [d.title for d in rubric.dimensions if d.optional]
    blocks = [
        _filled(rubric.pairwise.introduction, rubric),
        ASPECTS_HEADING + "\n" + _aspects(rubric),
        METHODOLOGY_HEADING + "\n" + _filled(rubric.pairwise.methodology, rubric),
        _filled(rubric.wording.not_applicable, rubric) if optional else "",
        rubric.wording.output,
        pairwise_reply_format(rubric),
    ]
    return "\n\n".join(block.strip() for block in blocks if block.strip())


def reply_format(rubric: Rubric) -> str:
    """The skeleton of a reply, derived from the rubric's dimensions and layout."""
    return written_out(reply_layout(rubric), lambda slot: _SLOT_TEXTS.get(slot.kind) or _slot_text(slot, rubric))


def pairwise_reply_format(rubric: Rubric) -> str:
    """The skeleton of a comparison's reply."""
    texts = {**_SLOT_TEXTS, "justification": "<evidence from both images>"}
    parts = reply_layout(rubric, pairwise=True)
    return written_out(parts, lambda slot: texts.get(slot.kind) or _slot_text(slot, rubric))


_SLOT_TEXTS: Final[dict[str, str]] = {
    "analysis": "<what the user wants>",
    "justification": "<evidence>",
    "summary": "<one or two sentences>",
    "comments": "<what to change in the instruction>",
    "refined": "<the complete refined instruction in one paragraph>",
}


def _slot_text(slot: Slot, rubric: Rubric) -> str:
    optional = slot.dimension is not None and slot.dimension.optional
    if slot.kind == "winner":
        return f"<{' | '.join((*WINNERS, NOT_APPLICABLE) if optional else WINNERS)}>"
    return _score_slot(rubric, optional)


def _check_pictures(*pictures: Any) -> None:
    """RequestError for a path in a picture's place: it would be words of the question, and be judged without eyes."""
    for picture in pictures:
        if isinstance(picture, str):
            raise RequestError(
                f"A picture must be a PIL image, not the text {picture[:60]!r}; open it with PIL.Image.open."
            )


def _check_sources(request: UserRequest, rubric: Rubric) -> None:
    if rubric.kind == "edit" and not request.sources:
        raise RequestError(
            "An edit is judged against its source image; give the source image, or use a generation rubric."
        )
    if rubric.kind == "generation" and request.sources:
        raise RequestError("A generation rubric takes no source image; use an edit rubric, or leave the source out.")


def _opening(request: UserRequest, label: str, images_line: str) -> str:
    return label + defused(request.text) + "\n" + (images_line + "\n" if images_line else "")


def _conversation(system: str, parts: Sequence[str | Image.Image]) -> tuple[Message, ...]:
    """System message (if any) and one user message; neighbouring texts are joined."""
    joined: list[str | Image.Image] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif not isinstance(part, str) or part:
            joined.append(part)
    user = Message("user", tuple(joined))
    return (Message("system", (system,)), user) if system else (user,)


def _aspects(rubric: Rubric) -> str:
    lines = []
    for number, dimension in enumerate(rubric.dimensions, 1):
        lines.append(f"{number}. **{dimension.title}**: {dimension.question}".rstrip(": "))
        lines += [f"   - {level:g}: {meaning}" for level, meaning in dimension.anchors]
    return "\n".join(lines)


def _score_slot(rubric: Rubric, optional: bool) -> str:
    scale = rubric.scale
    number = f"a number from {scale.minimum:.{scale.decimals}f} to {scale.maximum:.{scale.decimals}f}"
    return f"<{number} or {NOT_APPLICABLE}>" if optional else f"<{number}>"


def _filled(text: str, rubric: Rubric) -> str:
    """Rubric text with {count}, {minimum}, {maximum} and {titles} filled in; other braces stay."""
    values = {
        "count": str(len(rubric.dimensions)),
        "minimum": f"{rubric.scale.minimum:g}",
        "maximum": f"{rubric.scale.maximum:g}",
        "titles": " and ".join(d.title for d in rubric.dimensions if d.optional),
    }
    return re.sub(r"\{(count|minimum|maximum|titles)\}", lambda m: values[m.group(1)], text)
