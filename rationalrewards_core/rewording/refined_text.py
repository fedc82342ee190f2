"""The refined request without its wrapping: labels, quotation marks, JSON, and whatever a judge writes behind it."""

from __future__ import annotations

import json
import re
from typing import Final

from ..control_tokens import without_control_tokens
from ..quotation import QUOTED, unquoted

_LABEL: Final = re.compile(
    r"[\s#*_>`-]{0,12}(?:(?:the|my|your|a)\s+)?(?:(?:refined|revised|improved|updated|new|rewritten|enhanced|positive|final|better)\s+){0,2}"
    r"(?:user\s+)?(?:request|prompt|instruction)\s{0,3}[*_`]{0,3}\s{0,3}[:：][*_`]{0,3}"
    r"|[\s#*_>`-]{0,12}(?:(?:优化|修改|改进|完善|改写|新)后?的?)(?:用户)?(?:提示词|请求|提示|指令)\s{0,3}[*_`]{0,3}[:：][*_`]{0,3}"
    r"|(?:(?:sure|certainly|of course|okay|ok)[,.!]?\s{1,3})?here(?:['’]s| is)\b[^:\n]{0,80}:(?=\s)",
    re.IGNORECASE,
)
_NAMES: Final = frozenset(
    {
        "refined request",
        "refined prompt",
        "refined user request",
        "revised prompt",
        "improved prompt",
        "positive prompt",
    }
    | {"new prompt", "prompt", "request", "rewritten prompt", "positive", "user request", "text"}
)
_BULLET: Final = r"(?:^|\n)[ \t#*_>-]{0,8}"
_TAIL: Final = re.compile(
    rf"(?:{_BULLET}|(?<=[.!?。！？…])[ \t]+)(?:Human|User|Assistant|System|HUMAN|USER|ASSISTANT|SYSTEM)[ \t]{{0,3}}[*_]{{0,2}}[:：]"
    rf"|{_BULLET}(?:Instruction|Response|Input|Output|Question|Answer)[ \t]{{0,3}}[*_]{{0,2}}[:：]"
    r"|(?:^|\s)(?i:negative prompts?)[ \t]{0,3}[*_]{0,2}[:：]|(?:(?:^|\n)[ \t#*_>-]{0,8}|(?<=[,.;])\s+)(?i:negative)[ \t]{0,3}[*_]{0,2}[:：]|(?:^|\s)(?:负面提示词|反向提示词|负向提示词)\s{0,3}[:：]"
    r"|(?:^|\s)Steps: \d{1,4}, Sampler:"
    rf"|{_BULLET}\(?(?i:notes?|explanations?|rationale|reasoning|reasons?|(?:key |main )?changes(?: made)?|why this works)[ \t]{{0,3}}[*_]{{0,2}}[:：]"
    rf"|{_BULLET}(?i:let me know|i hope (?:this|that|it)|would you like|feel free|this (?:refined|revised|improved|updated|new) (?:request|prompt))\b"
)
"""Where the request has ended: another speaker, a negative prompt, an explanation, small talk."""


def refined_words(text: str) -> str:
    """The request itself. JSON that is more than one text in a wrapping stays as it is."""
    text = _without_tail(without_control_tokens(text))
    for _ in range(4):  # a label in quotation marks in JSON in a label
        inner = _unwrapped(text)
        if inner == text:
            break
        text = _without_tail(inner)
    return text


def _without_tail(text: str) -> str:
    quoted = [match.span() for match in QUOTED.finditer(text)]
    for match in _TAIL.finditer(text):
        if not any(start < match.end() <= end for start, end in quoted):
            return text[: match.start()].strip().rstrip(",; ")
    return text.strip()


def _unwrapped(text: str) -> str:
    label = _LABEL.match(text)
    if label is not None:
        text = text[label.end() :].strip()
        text = text[:-2].rstrip() if text.endswith("**") and text.count("**") % 2 else text
    text = unquoted(text)
    return _only_text(text) if text[:1] in ("{", "[") else text


def _only_text(text: str) -> str:
    """The one text of a JSON value; the text itself where it is no JSON or there is more than one."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(value, dict):
        texts = [value[key] for key in value if " ".join(re.split(r"[\s_-]+", key)).casefold() in _NAMES]
        value = texts if texts else list(value.values())
    return value[0].strip() if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str) else text
