"""Adaptive rubrics: a model writes, for one request, the dimensions that matter, with weights and anchors.

    rubric = await write_rubric(scorer, UserRequest("three cats under a red umbrella, rain"))

The reply is held to a grammar where the backend can, and read strictly: a line that is missing or more is a failure with its
reason, never a rubric of what could be guessed. What comes out is an ordinary `Rubric`: `rubric_to_toml` shows it, a person
may edit that, and everything that takes a rubric follows it.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Final

from .backends.base import Reply, Sampling, introduce
from .errors import ConfigError, CritiqueParseError
from .finished_reply import check_finished
from .free_lines import SPACES
from .messages import Message, UserRequest, defused
from .replies.score_text import Reason
from .rubric import Dimension, Rubric, Scale
from .rubric_file import edit_rubric, generation_rubric
from .scorer import Scorer
from .thinking import answer_of

LEAST, MOST = 2, 6
"""Dimensions of a written rubric."""
WEIGHTS: Final = (1, 5)
MAX_TOKENS: Final = 1500
MOST_OF_A_NAME: Final = 60

_TITLE: Final = re.compile(r"([0-9]{1,2})\. (.+?) \(weight ([0-9]{1,3})\)")
_QUESTION: Final = "Question: "
_DRESS: Final = re.compile(r"[*_`]{2,3}|^#{1,6} ")


async def write_rubric(scorer: Scorer, request: UserRequest, base: Rubric | None = None) -> Rubric:
    """A rubric for this request, written by the scorer's model.

    `base` gives scale, layout and the prompt's other words; None is the built-in rubric of the request's kind. Raises
    ConfigError for a model or a base that cannot be asked so, BackendError, and CritiqueParseError for a reply that is
    no rubric, once it has been asked for as often as the scorer's settings say.
    """
    start = base or (edit_rubric() if request.sources else generation_rubric())
    _check(scorer, start)
    settings = scorer.settings
    grammar = rubric_grammar(start.scale) if settings.guided else None
    sampling = Sampling(max_tokens=max(MAX_TOKENS, settings.max_tokens), grammar=grammar)
    messages = writing_messages(request, start)
    await introduce(scorer.backend)

    def read(reply: Reply) -> Rubric:
        check_finished(reply)
        return parse_written(reply.text, request, start)

    return await scorer.ask(messages, sampling, read)


def writing_messages(request: UserRequest, base: Rubric) -> tuple[Message, ...]:
    """The question that a rubric is written for; the source images of an edit are shown."""
    edit = base.kind == "edit"
    system = (
        "You plan how generated images will be judged. You read what a user asks for and write the rubric that fits "
        "exactly this request: what decides whether an image answers it."
    )
    task = (
        f"Write {LEAST} to {MOST} dimensions for judging {'edits of this image' if edit else 'images'} made for the "
        "request. Each looks at one thing only, in the words of this request: one object with what is asked of it, a count, "
        f"a place, a text, a style{', what of the image must stay as it is' if edit else ''}; and one about how well the "
        "image is made. No two overlap, and nothing is asked that the request does not want. Weights from "
        f"{WEIGHTS[0]} to {WEIGHTS[1]} say how much each matters. Every level says what an image of that level shows.\n\n"
        "Write exactly this form, in the language of the request, and nothing else:\n\n" + _form(base.scale)
    )
    parts = [part for source in request.sources for part in ("The image before the edit: ", source, "\n")]
    return (
        Message("system", (system,)),
        Message("user", (*parts, f"Request: {defused(request.text)}\n\n", task)),
    )


def rubric_grammar(scale: Scale) -> str:
    """EBNF of a reply; whatever it lets a model write, `parse_written` reads, but for titles that say the same."""
    rules = []
    rest = ""
    for number in range(MOST, 0, -1):
        lines = [
            json.dumps(f"{number}. ") + " title " + json.dumps(" (weight ") + f' [{WEIGHTS[0]}-{WEIGHTS[1]}] ")\\n"'
        ]
        lines.append(json.dumps(_QUESTION) + ' text "\\n"')
        lines += [
            json.dumps(f"{level}: ") + (' text "\\n"' if level != levels(scale)[-1] else " text")
            for level in levels(scale)
        ]
        rules.append(f"dimension{number} ::= {' '.join(lines)}")
        further = f'"\\n" dimension{number + 1}{rest}'
        rest = "" if number == MOST else f" {further}" if number < LEAST else f" ({further})?"
    return "\n".join(
        [
            f"root ::= dimension1{rest}",
            *reversed(rules),
            "title ::= word ([ -] word)? ([ -] word)? ([ -] word)?",
            r"word ::= [A-Za-z\u00c0-\u024f\u0370-\u1fff\u3041-\ud7ff]+",
            rf"text ::= [^{SPACES}\n\r] [^\n\r]*",
        ]
    )


def levels(scale: Scale) -> list[int]:
    """The scores that have an anchor, best first: every whole one, or the ends and the middle of a long scale."""
    low, high = int(scale.minimum), int(scale.maximum)
    return list(range(high, low - 1, -1)) if high - low <= 5 else [high, (high + low) // 2, low]


def parse_written(text: str, request: UserRequest, base: Rubric) -> Rubric:
    """The rubric of a reply. CritiqueParseError unless it has exactly the lines that were asked for."""
    answer = answer_of(text, lambda words: words.partition("1. ")[0])
    if answer is None:
        raise CritiqueParseError(Reason.TRUNCATED.value, "The reply ends inside its <think> block.", text)
    lines = [_DRESS.sub("", line).strip() for line in answer.replace("\r\n", "\n").split("\n")]
    lines = [line for line in lines if line and not line.startswith("```")]
    size = 2 + len(levels(base.scale))
    if not lines:
        raise CritiqueParseError(Reason.EMPTY.value, "The reply is empty.", text)
    try:
        blocks = [lines[start : start + size] for start in range(0, len(lines), size)]
        dimensions = tuple(_dimension(number, block, base.scale) for number, block in enumerate(blocks, 1))
        if not LEAST <= len(dimensions) <= MOST:
            raise ConfigError(f"it has {len(dimensions)} dimensions, not {LEAST} to {MOST}")
        layout = replace(base.layout, guidelines=True)  # no checkpoint knows these dimensions by heart
        return replace(base, name=_name(request), dimensions=dimensions, layout=layout)
    except ConfigError as error:
        reason = Reason.MISSING_DIMENSION if len(lines) < LEAST * size else Reason.NO_JUDGEMENT
        raise CritiqueParseError(reason.value, f"The reply is no rubric: {str(error).rstrip('.')}.", text) from error


def _check(scorer: Scorer, base: Rubric) -> None:
    if scorer.scope is not None:
        raise ConfigError(
            "This judge knows its own dimensions only, and writes no rubric; choose a model that follows instructions."
        )
    if base.profile is not None:
        raise ConfigError(
            f"{base.name} is a judge profile: its judge has its own dimensions, and follows no other rubric."
        )


def _form(scale: Scale) -> str:
    rows = ["1. <Title of one to four words> (weight <number>)", "Question: <what is looked at, in one sentence>"]
    rows += [f"{level}: <what an image of this level shows>" for level in levels(scale)]
    return "\n".join([*rows, "2. <Title> (weight <number>)", "..."])


def _dimension(number: int, block: list[str], scale: Scale) -> Dimension:
    """One dimension of its lines; ConfigError names the line that is not what it should be."""
    head = _TITLE.fullmatch(block[0])
    if head is None or int(head[1]) != number:
        raise ConfigError(f"'{number}. Title (weight 3)' was due, not {block[0][:60]!r}")
    if not WEIGHTS[0] <= int(head[3]) <= WEIGHTS[1]:
        raise ConfigError(f"the weight of {head[2]!r} is {head[3]}, not {WEIGHTS[0]} to {WEIGHTS[1]}")
    starts = [_QUESTION, *(f"{level}: " for level in levels(scale))]
    for start, line in zip(starts, [*block[1:], *[""] * len(starts)], strict=False):
        if not line.startswith(start) or not line.removeprefix(start).strip():
            raise ConfigError(f"{head[2]!r} needs a line {start.strip()!r} with words, not {line[:60]!r}")
    question, *meanings = (line.removeprefix(start).strip() for start, line in zip(starts, block[1:], strict=True))
    anchors = tuple((float(level), meaning) for level, meaning in zip(levels(scale), meanings, strict=True))
    return Dimension(key=_key(head[2]), title=head[2], question=question, anchors=anchors, weight=float(head[3]))


def _key(title: str) -> str:
    key = re.sub(r"\W+", "_", title.casefold()).strip("_")
    return key if key.isidentifier() else f"d_{key}"


def _name(request: UserRequest) -> str:
    words = " ".join(request.text.split())
    return "for: " + (words if len(words) <= MOST_OF_A_NAME else words[: MOST_OF_A_NAME - 1] + "…")
