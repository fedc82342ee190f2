"""Servers of every kind for tests, and how one is met."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import Any

from rationalrewards_core.backends.base import Reply, Sampling
from rationalrewards_core.backends.openai_chat import OpenAIChat
from rationalrewards_core.backends.server_probe import DRAW, FORCED
from rationalrewards_core.backends.server_profile import ServerProfile
from rationalrewards_core.messages import Message
from tests.core.fault_server import Answer, Ask, FaultServer, completion, fault, serving

SENTENCE = "A lighthouse stands on the rock and shines far over the sea."
JUDGED = "# Detailed Judgement"


@dataclass(frozen=True)
class Kind:
    """A server's habits, as the servers in use have them."""

    obeys: str = ""
    """The field whose grammar it follows."""
    refuses: tuple[str, ...] = ()
    """Fields that it takes for a mistake."""
    refusal: int = 422
    """How it answers those."""
    most_alternatives: int = 20
    keeps_alternatives_back: bool = False
    other_tokens: bool = False
    """Its probabilities are those of another text."""
    stops: int = 5
    ignores_stops: bool = False
    breaks_over_stops: bool = False
    seeds: bool = True
    draws: bool = True
    thinks: str = ""
    """Where its thoughts go: a field of the message, or `content`."""

    def __call__(self, ask: Ask) -> Answer:
        body = ask.body
        refused = [name for name in self.refuses if name in body]
        if refused:
            return fault(self.refusal, f"Unexpected keys in the request: {refused}")
        if body.get("top_logprobs", 0) > self.most_alternatives:
            return fault(400, f"top_logprobs must be at most {self.most_alternatives}")
        if len(body.get("stop", ())) > self.stops:
            return fault(400, "too many stop texts")
        if "stop" in body and self.breaks_over_stops:
            return fault(500, "tokenizer")
        text = self._text(ask)
        cuts = [text.index(ending) for ending in body.get("stop", ()) if ending in text]
        text = text[: min(cuts)] if cuts and not self.ignores_stops else text
        switched_off = body.get("chat_template_kwargs", {}).get("enable_thinking") is False
        message: dict[str, Any] = {}
        if self.thinks and not switched_off:
            text, message = (
                (f"Hm.\n</think>\n{text}", {}) if self.thinks == "content" else (text, {self.thinks: "The user wants"})
            )
        return completion(text, message=message, choice=self._choice(body, text))

    def _text(self, ask: Ask) -> str:
        if self.obeys in ask.body:
            given = ask.body[self.obeys]
            grammar = given["grammar"] if isinstance(given, dict) else given
            return grammar.partition('"')[2].rstrip('"') if FORCED in grammar else JUDGED
        if ask.text == DRAW:
            seed = ask.body.get("seed") if self.seeds else ask.number
            return f"{seed if self.draws else 0} words"
        return SENTENCE

    def _choice(self, body: dict[str, Any], text: str) -> dict[str, Any]:
        if "top_logprobs" not in body or self.keeps_alternatives_back:
            return {}
        words = (SENTENCE[::-1] if self.other_tokens else text).split(" ")
        top = [{"token": f"t{n}", "logprob": math.log(0.5**n)} for n in range(1, body["top_logprobs"])]
        rows = [{"token": f"{' ' if n else ''}{word}", "logprob": -0.1} for n, word in enumerate(words)]
        return {"logprobs": {"content": [{**row, "top_logprobs": [row, *top]} for row in rows]}}


async def met(config: Any, *samplings: Sampling) -> tuple[ServerProfile, list[Reply]]:
    """The profile, and a reply to a question for every sampling."""

    async def no_wait(seconds: float) -> None:
        return

    backend = OpenAIChat(config, sleep=no_wait)
    try:
        await backend.introduce()
        replies = [await backend.reply([Message("user", ("Judge.",))], sampling) for sampling in samplings]
        return backend.profile, replies
    finally:
        await backend.close()


def profile_of(kind: Kind, **options: Any) -> tuple[ServerProfile, FaultServer]:
    with serving(kind) as server:
        profile, _ = asyncio.run(met(server.config(probe=True, **options)))
        return profile, server
