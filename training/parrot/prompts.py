"""The teacher's prompts: texts in `prompts/*.toml`, put around the rubric's own messages as further parts.

Texts of a user or a model are always parts of their own; none is substituted into a sentence of ours.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from PIL import Image

from rationalrewards_core.comparison import Comparison, Verdict
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.messages import (
    Message,
    UserRequest,
    critique_messages,
    defused,
    guidelines,
    pairwise_guidelines,
    pairwise_messages,
)
from rationalrewards_core.rubric import Rubric

from ..rewards.teaching import TeacherQuestion, prompt_hash
from .evidence import evidence

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Variant = Literal["text", "images", "paper"]
"""How consistency is checked: from the evidence alone, from evidence and images, or as the paper prints it."""
Part = str | Image.Image


@dataclass(frozen=True, kw_only=True)
class AnchoredTexts:
    """Stage 1."""

    opening: str
    label_a: str
    label_b: str
    label_tie: str

    def label(self, preference: Verdict) -> str:
        return {Verdict.A: self.label_a, Verdict.B: self.label_b, Verdict.TIE: self.label_tie}[preference]


@dataclass(frozen=True, kw_only=True)
class ConsistencyTexts:
    """Stage 2."""

    opening: str
    opening_images: str
    request_label: str
    source_label: str
    first_label: str
    second_label: str
    notes_label: str
    question: str
    question_images: str


@dataclass(frozen=True, kw_only=True)
class ProjectionTexts:
    """Stage 3; `{letter}` in `opening` becomes `first_name` or `second_name`."""

    opening: str
    notes_label: str
    first_name: str
    second_name: str


@dataclass(frozen=True, kw_only=True)
class TeacherTexts:
    """All texts that are not the rubric's."""

    anchored: AnchoredTexts
    consistency: ConsistencyTexts
    projection: ProjectionTexts


TextsT = TypeVar("TextsT", AnchoredTexts, ConsistencyTexts, ProjectionTexts)


def load_texts(folder: Path | None = None) -> TeacherTexts:
    """The texts of a folder with the three files; None takes those that come with the package."""
    where = folder or Path(__file__).parent / "prompts"
    return TeacherTexts(
        anchored=_texts(AnchoredTexts, where / "anchored.toml"),
        consistency=_texts(ConsistencyTexts, where / "consistency.toml"),
        projection=_texts(ProjectionTexts, where / "projection.toml"),
    )


def _texts(cls: type[TextsT], path: Path) -> TextsT:
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"The prompt texts {path} cannot be read: {error}.") from error
    names = {f.name for f in fields(cls)}
    for key in names ^ table.keys():
        what = "lacks" if key in names else "has the unknown key"
        raise ConfigError(f"The prompt texts {path} {what} {key!r}.")
    if not all(isinstance(text, str) and text.strip() for text in table.values()):
        raise ConfigError(f"The prompt texts {path} must all be texts, and none empty.")
    return cls(**table)


def teacher_rubric(rubric: Rubric) -> Rubric:
    """The rubric with its guidelines spelled out: a teacher does not know the format by heart."""
    return replace(rubric, layout=replace(rubric.layout, guidelines=True))


def anchored_question(
    request: UserRequest, first: Image.Image, second: Image.Image, label: Verdict, rubric: Rubric, texts: TeacherTexts
) -> TeacherQuestion:
    """Stage 1: q(z | x, y). The comparison prompt, and the label as the last thing read."""
    hint = f"\n\n{texts.anchored.opening}\n{texts.anchored.label(label)}"
    return TeacherQuestion(
        messages=_with_parts(pairwise_messages(request, first, second, rubric), hint),
        prompt=prompt_hash(rubric.pairwise.system, pairwise_guidelines(rubric), astuple(texts.anchored)),
        rubric=rubric.name,
    )


def consistency_question(
    request: UserRequest,
    comparison: Comparison,
    rubric: Rubric,
    texts: TeacherTexts,
    variant: Variant,
    images: tuple[Image.Image, Image.Image] | None = None,
) -> TeacherQuestion:
    """Stage 2: P(y | x, z) without y. `images` are A and B, wanted by the `images` variant and by no other."""
    own = texts.consistency
    notes = comparison.raw[0].strip() if variant == "paper" else evidence(comparison, rubric)
    parts: list[Part] = [own.opening_images if variant == "images" else own.opening]
    parts.append(f"\n\n{own.request_label}{defused(request.text)}\n")
    if variant == "images" and images is not None:
        for source in request.sources:
            parts += [own.source_label, source, "\n"]
        parts += [own.first_label, images[0], "\n", own.second_label, images[1], "\n"]
    question = own.question_images if variant == "images" else own.question
    parts.append(f"\n{own.notes_label}\n{defused(notes)}\n\n{question}")
    return TeacherQuestion(
        messages=(Message("user", _joined(parts)),),
        prompt=prompt_hash(variant, astuple(own)),
        rubric=rubric.name,
    )


def projection_question(
    request: UserRequest,
    candidate: Image.Image,
    rubric: Rubric,
    texts: TeacherTexts,
    hint: tuple[Comparison, Verdict] | None = None,
) -> TeacherQuestion:
    """Stage 3: one candidate judged by itself; `hint` is the comparison and which of its images this one was.

    Without a hint this is direct distillation, the baseline that PARROT is compared with.
    """
    messages = critique_messages(request, candidate, rubric)
    own = texts.projection
    if hint is not None:
        comparison, place = hint
        name = own.first_name if place is Verdict.A else own.second_name
        opening = own.opening.replace("{letter}", name)
        notes = defused(comparison.raw[0].strip())
        messages = _with_parts(messages, f"\n\n{opening}\n\n{own.notes_label}\n{notes}")
    return TeacherQuestion(
        messages=messages,
        prompt=prompt_hash(
            rubric.wording.system, guidelines(rubric), astuple(own) if hint is not None else "without a hint"
        ),
        rubric=rubric.name,
    )


def _with_parts(messages: tuple[Message, ...], text: str) -> tuple[Message, ...]:
    """The conversation with a text after everything the user says."""
    *before, user = messages
    return (*before, Message(user.role, _joined([*user.parts, text])))


def _joined(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Neighbouring texts as one part."""
    joined: list[Part] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, str) and isinstance(last, str):
            joined[-1] = last + part
        else:
            joined.append(part)
    return tuple(joined)
