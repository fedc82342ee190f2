"""What a server honours, found out once with about eight short questions whose answers can be checked.

A grammar is obeyed if it makes the model say what it would never say; stop texts, if a reply that is known ends where it
should; a seed, if the same one repeats a reply that another one changes; token probabilities, if they spell the reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from ..errors import BackendError
from ..servers import THINKING_SWITCHES
from .openai_wire import content_text, first_choice, grammar_option, thoughts, token_choices
from .server_profile import MOST_ALTERNATIVES, USUAL_STOP_TEXTS, ServerProfile

FORCED: Final = "Quokka 7391"
"""What no model would say of its own accord to the question."""
GRAMMAR: Final = f'root ::= "{FORCED}"'
"""Valid in every dialect of the servers that take grammars."""
QUESTION: Final = "Write one sentence about a lighthouse."
DRAW: Final = "Write ten random words."
SHORT: Final = 16
"""Tokens of an answer that is looked at."""
ROOM_TO_THINK: Final = 1024
"""Tokens of an answer whose model thinks first."""
OTHER_STOP_TEXTS: Final = ("<#1#>", "<#2#>", "<#3#>", "<#4#>")
REFUSED: Final = (400, 404, 415, 422, 500, 501)
"""What servers answer to a field that they do not take; some break over it."""

Ask = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Ask for a greedy reply of `SHORT` tokens with further request fields; the server's answer. BackendError if it fails."""

OFF: Final = {"chat_template_kwargs": dict.fromkeys(THINKING_SWITCHES, False)}


async def probed(ask: Ask, start: ServerProfile) -> ServerProfile:
    """The profile that answers show; `start` holds what may be sent at all.

    BackendError if a plain question fails, or anything for a reason other than a field.
    """
    plain = await ask(QUESTION, {})
    thinks = bool(thoughts(plain))
    ends = thinks and not thoughts(await _tried(ask, QUESTION, OFF) or plain)
    alternatives, grammar, stop_texts, (seed, draws) = await asyncio.gather(
        _alternatives(ask, start.alternatives),
        _grammar(ask, start.grammar, ROOM_TO_THINK if thinks else 2 * SHORT),
        _stop_texts(ask, text_of(plain)),
        _seed(ask),
    )
    return replace(
        start,
        probed=True,
        grammar=grammar,
        alternatives=alternatives,
        stop_texts=stop_texts,
        seed=seed,
        draws=draws,
        thinks=thinks,
        thinking_ends=ends,
    )


def text_of(answer: Mapping[str, Any]) -> str:
    """The text of an answer's reply; empty if it has none."""
    choice = first_choice(answer)
    return (content_text(choice["message"].get("content")) or "") if choice else ""


async def _tried(ask: Ask, question: str, fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The answer; None if the server refuses or breaks over the fields."""
    try:
        return await ask(question, fields)
    except BackendError as error:
        forbidden = error.status == 403 and any(name in str(error) for name in fields)  # else it is about the key
        if error.status in REFUSED or forbidden:
            return None
        raise


async def _alternatives(ask: Ask, most: int) -> int:
    """How many alternatives come for every token of a reply; servers have limits of their own."""
    for number in (MOST_ALTERNATIVES, 10, 5):
        if number > most:
            continue
        answer = await _tried(ask, QUESTION, {"logprobs": True, "top_logprobs": number})
        if answer is not None:
            return _spelled(answer)
    return 0


def _spelled(answer: Mapping[str, Any]) -> int:
    """Alternatives of an answer's tokens, if these spell its reply; else 0."""
    choice = first_choice(answer) or {}
    tokens = token_choices(choice.get("logprobs"))
    spelled = "".join(token.text for token in tokens).encode("ascii", "ignore")
    text = text_of(answer).strip().encode("ascii", "ignore")
    return max((len(token.alternatives) for token in tokens), default=0) if text in spelled else 0


async def _grammar(ask: Ask, names: Sequence[str], room: int) -> tuple[str, ...]:
    """The first of the fields in which a grammar is obeyed."""
    for name in names:
        answer = await _tried(ask, QUESTION, {"max_tokens": room, **grammar_option((name,), GRAMMAR)})
        if answer is not None and text_of(answer).strip() == FORCED:
            return (name,)
    return ()


async def _stop_texts(ask: Ask, reply: str) -> int:
    """How many stop texts end a reply where they should: 5, 4 or none; the usual number if the reply is too short to see."""
    middle = len(reply) // 2
    ending = reply[middle : middle + 4]
    if len(ending.strip()) < 2:
        return USUAL_STOP_TEXTS
    for others in (OTHER_STOP_TEXTS, OTHER_STOP_TEXTS[:-1]):
        answer = await _tried(ask, QUESTION, {"stop": [*others, ending]})
        if answer is not None:
            return len(others) + 1 if ending not in text_of(answer) else 0
    return 0


async def _seed(ask: Ask) -> tuple[bool, bool]:
    """Whether one seed repeats a drawn reply, and whether another one changes it."""
    draws = []
    for seed in (1, 1, 2):
        answer = await _tried(ask, DRAW, {"temperature": 1.5, "seed": seed})
        if answer is None:
            return False, True
        draws.append(text_of(answer) or thoughts(answer))
    return draws[0] == draws[1], draws[0] != draws[2] or draws[0] != draws[1]
