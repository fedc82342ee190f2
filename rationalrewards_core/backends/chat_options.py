"""What goes along with a question to one server, and what is left out once the server has refused it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from ..servers import ServerConfig
from .base import Sampling
from .openai_wire import grammar_option
from .server_profile import GRAMMAR_FIELDS, ServerProfile, assumed_profile

log = logging.getLogger("rationalrewards.backends.chat_options")

_NAMED_IN_A_400: Final = (
    "model",
    "message",
    "prompt",
    "field",
    "image",
    "content",
    "context",
    "token",
    "role",
    "template",
    "max_",
)
"""Words of a 400 that is about the question itself; leaving options out would not help."""
_OWN_DEFAULTS: Final = {
    "vLLM": {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0},
    "SGLang": {"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},
    "llama.cpp": {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0},
}
"""What undoes the habits of servers, or of a checkpoint's generation_config that they follow; the local engine has none."""
_THOUGHT_LIMIT: Final = {"vLLM": "thinking_token_budget", "llama.cpp": "thinking_budget_tokens"}
"""Where a server takes the most tokens that may be thought; elsewhere `thinking_tokens` is only room for them."""
THOUGHT_LIMITS: Final = frozenset(_THOUGHT_LIMIT.values())


class ChatOptions:
    """The request fields beside the question, by the server's profile."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.profile: ServerProfile = assumed_profile(config)
        self._noticed: set[str] = set()
        self._refused_grammars: set[str] = set()
        self._limits_thoughts = True

    def body(self, model: str, wire: list[dict[str, Any]], sampling: Sampling) -> dict[str, Any]:
        """The whole request."""
        profile, config = self.profile, self.config
        body: dict[str, Any] = {
            "model": model,
            "messages": wire,
            profile.limit: sampling.max_tokens + config.thinking_tokens,
        }
        if config.chat_template:
            body["chat_template_kwargs"] = config.chat_template
        if profile.temperature:
            body["temperature"] = sampling.temperature
        if sampling.stop and profile.stop_texts and not profile.thinks:  # a draft among its thoughts would end there
            body["stop"] = list(sampling.stop[: profile.stop_texts])
        if sampling.seed is not None and profile.seed:
            body["seed"] = sampling.seed
        if sampling.alternatives and profile.alternatives:
            body |= {"logprobs": True, "top_logprobs": min(sampling.alternatives, profile.alternatives)}
        if sampling.grammar is not None and sampling.grammar not in self._refused_grammars:
            body |= grammar_option(profile.grammar, sampling.grammar)
        return {**body, **self.thought_limit(body), **_OWN_DEFAULTS.get(self._kind, {}), **config.fields}

    def thought_limit(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The field that limits thoughts beside the others of a request; nothing where there is none to send.

        llama.cpp holds the thoughts themselves to a grammar and breaks when it ends them inside it; questions asked at the
        same time then go unanswered.
        """
        name = _THOUGHT_LIMIT.get(self._kind) if self._limits_thoughts else None
        if name is None or not self.config.thinking_tokens or (self._kind == "llama.cpp" and "grammar" in body):
            return {}
        return {name: self.config.thinking_tokens}

    @property
    def _kind(self) -> str:
        """What serves, without its version."""
        return self.profile.software.partition(" ")[0]

    def drop_stop_texts(self) -> None:
        """Send no stop texts from now on; replies are cut here alone."""
        self.profile = replace(self.profile, stop_texts=0)
        self.notice("stop", "answers only without stop texts; replies are written to their end and cut here")

    def drop_refused(self, complaint: str, body: Mapping[str, Any], grammar: str | None) -> bool:
        """Whether a 400 was about an option that can be done without or put otherwise; if so it is no longer sent.

        `body` is what was refused: with many requests under way, several come back refused for one option.
        """
        if grammar is not None and self._guided(body) and _mentions(complaint, "structured", "grammar", "ebnf"):
            return self._drop_grammar(complaint, grammar)
        if not body.keys().isdisjoint(THOUGHT_LIMITS) and _mentions(complaint, *THOUGHT_LIMITS):
            self._limits_thoughts = False
            self.notice("thoughts", f"does not limit thoughts, so they may take the reply's room: {complaint}")
            return True
        if "logprobs" in body and _mentions(complaint, "logprob"):
            self._drop_logprobs(int(body["top_logprobs"]))
            return True
        if "seed" in body and _mentions(complaint, "seed"):
            self.profile = replace(self.profile, seed=False)
            self.notice("seed", "takes no seed; sampled replies are not repeatable")
            return True
        # Hosted models that think before they answer have another name for the limit, and one temperature.
        if "max_tokens" in body and _mentions(complaint, "max_completion_tokens"):
            self.profile = replace(self.profile, limit="max_completion_tokens")
            return True
        if "temperature" in body and _mentions(complaint, "temperature"):
            self.profile = replace(self.profile, temperature=False)
            self.notice("temperature", "takes no temperature; replies are not repeatable")
            return True
        return False

    def droppable(self, complaint: str, body: Mapping[str, Any]) -> list[str]:
        """The fields of a refused request without which it is worth asking once more; none if the 400 names another cause.

        Only an answer proves that an option was the trouble: one bad question must not change the others.
        """
        if _mentions(complaint, *_NAMED_IN_A_400):
            return []
        grammar = set(GRAMMAR_FIELDS.values()) if self.config.structured == "auto" else set()
        return sorted({"logprobs", "top_logprobs", "seed", *grammar} & body.keys())

    def drop(self, names: list[str]) -> None:
        """Send these fields no longer: they were the trouble."""
        profile = self.profile
        self.profile = replace(
            profile,
            grammar=() if set(names) & set(GRAMMAR_FIELDS.values()) else profile.grammar,
            alternatives=0 if "logprobs" in names else profile.alternatives,
            seed=profile.seed and "seed" not in names,
        )
        self.notice("options", f"answers only without {', '.join(names)}; they are left out from now on")

    def notice(self, topic: str, message: str) -> None:
        """Say something about the server once."""
        if topic not in self._noticed:
            self._noticed.add(topic)
            log.warning("server %r %s", self.config.name, message)

    @staticmethod
    def _guided(body: Mapping[str, Any]) -> bool:
        return not body.keys().isdisjoint(GRAMMAR_FIELDS.values())

    def _drop_grammar(self, complaint: str, grammar: str) -> bool:
        if self.profile.probed:  # it takes grammars: this one is the trouble
            self._refused_grammars.add(grammar)
            self.notice(grammar, f"does not take the grammar of this rubric; replies to it are not guided: {complaint}")
            return True
        if self.config.structured != "auto":
            return False  # the user has said that the server takes it
        self.profile = replace(self.profile, grammar=())
        self.notice("grammar", "takes no grammar; replies are not guided")
        return True

    def _drop_logprobs(self, number: int) -> None:
        fewer = next((n for n in (10, 5) if n < number), 0)
        self.profile = replace(self.profile, alternatives=min(fewer, self.profile.alternatives))
        if not fewer:
            self.notice("logprobs", "gives no token probabilities; expected and spread are not available")


def _mentions(text: str, *words: str) -> bool:
    lowered = text.casefold()
    return any(word in lowered for word in words)
