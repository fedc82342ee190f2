"""What one server honours with one model: the words in which it is asked, and what it can be believed.

A 200 proves nothing: servers drop fields that they do not know. `server_probe` fills a profile from answers that can be
checked; until then, and for a server that is not to be probed, `assumed_profile` asks in all words at once.

For who shows it (the command line, a node, a check of a server): `OpenAIChat.profile` is the profile after
`await OpenAIChat.introduce()`; `ServerProfile.line()` says it in one line, `lines()` in sentences, and `shortcomings()`
only what the server does not do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal

from ..servers import ServerConfig

MOST_ALTERNATIVES: Final = 20
"""Token alternatives that OpenAI's protocol knows at most."""
USUAL_STOP_TEXTS: Final = 4
"""As many as OpenAI's protocol knows."""
GRAMMAR_FIELDS: Final = {"vllm": "structured_outputs", "llama_cpp": "grammar", "sglang": "ebnf"}
"""Servers and the request field in which each takes a grammar."""

LimitField = Literal["max_tokens", "max_completion_tokens"]


@dataclass(frozen=True, kw_only=True)
class ServerProfile:
    """One server with one model."""

    software: str = ""
    """What serves, with its version, such as `vLLM 0.32.0`; empty if it does not say."""
    model: str = ""
    """Name of the model, as the server lists it."""
    probed: bool = False
    """Whether what follows was seen in answers; else it is what servers usually do."""
    grammar: tuple[str, ...] = tuple(GRAMMAR_FIELDS.values())
    """Request fields in which a grammar is sent; none: the server ignores or refuses it, and replies are not guided."""
    alternatives: int = MOST_ALTERNATIVES
    """Most token alternatives it gives; 0: no probabilities, or those of another text than the reply."""
    stop_texts: int = USUAL_STOP_TEXTS
    """Most stop texts it takes; 0: it ignores them or breaks over them, and replies are cut here."""
    seed: bool = True
    """Whether a sampled reply is the same again with the same seed."""
    draws: bool = True
    """Whether replies differ between seeds; a server that ignores the temperature gives the same one always."""
    temperature: bool = True
    """Whether it takes a temperature at all."""
    limit: LimitField = "max_tokens"
    """How it calls the limit of a reply."""
    thinks: bool = False
    """Whether the model thinks before it answers, asked as its config says."""
    thinking_ends: bool = False
    """Whether `thinking = "off"` would keep it from that."""
    context: int = 0
    """Tokens that a prompt and its reply have together; 0 if the server does not say."""
    pictures: int = 0
    """Pictures that one question may hold, as far as was tried (2); 0 if it was not tried."""
    grid: int = 0
    """Pixels of the side of the square that becomes one token; 0 if unknown."""

    @property
    def guided(self) -> bool:
        return bool(self.grammar)

    def line(self) -> str:
        """All of it in one line, for a terminal."""
        who = f"{self.software or 'a server that does not say what it is'} with {self.model or 'a model'}"
        if not self.probed:
            return f"{who}: what it honours was not tried"
        guided = f"guided ({', '.join(self.grammar)})" if self.guided else "not guided"
        probabilities = "token probabilities" if self.alternatives else "no token probabilities"
        return f"{who}: {guided}, {probabilities}{', thinks first' if self.thinks else ''}"

    def lines(self) -> list[str]:
        """One sentence for each thing that a user may want to know: what serves, what works, and what does not."""
        context = f" in {self.context} tokens of context" if self.context else ""
        lines = [
            f"{self.software or 'A server that does not say what it is'} serves {self.model or 'a model'}{context}."
        ]
        if not self.probed:
            return [*lines, "What it honours was not tried (probe = false)."]
        if self.guided:
            lines.append(f"Replies are guided by the rubric's grammar ({', '.join(self.grammar)}).")
        if self.alternatives:
            lines.append(f"Token probabilities: {self.alternatives} alternatives.")
        return lines + self.shortcomings()

    def shortcomings(self) -> list[str]:
        """What the server does not do, a sentence each that says what follows from it; none if nothing was tried."""
        if not self.probed:
            return []
        lines = []
        if not self.guided:
            lines.append(
                "Replies are not guided: the server takes no grammar, so they are read strictly and may be asked for again."
            )
        if not self.alternatives:
            lines.append("The server gives no token probabilities of its replies, so there is no expected score.")
        if not self.stop_texts:
            lines.append(
                "The server does not end replies at a stop text: scores alone take as long as a whole critique."
            )
        if not self.draws:
            lines.append(
                "The server ignores the temperature: sampled critiques are all alike and have no spread to tell."
            )
        elif not self.seed:
            lines.append("One seed gives two replies: sampled ones are not repeatable.")
        if self.thinks:
            lines.append(
                'The model thinks before it answers; thinking = "off" in the config file ends that.'
                if self.thinking_ends
                else "The model thinks before it answers; thinking_tokens in the config file gives it room for that."
            )
        if self.pictures == 1:
            lines.append("The server takes one picture a question; edits and pairwise comparison need two.")
        return lines

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def profile_from_json(row: Mapping[str, Any]) -> ServerProfile | None:
    """A kept profile; None if it was written by another version of this project."""
    types = {field.name: type(field.default) for field in fields(ServerProfile)}
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    if values.keys() != types.keys() or any(type(values[name]) is not kind for name, kind in types.items()):
        return None
    return ServerProfile(**values)


def assumed_profile(config: ServerConfig) -> ServerProfile:
    """How a server is asked that was not probed: as its config says, and a grammar under every name at once.

    vLLM, llama.cpp's server and SGLang each take their own and overlook the others.
    """
    return ServerProfile(
        model=config.model,
        grammar=grammar_fields(config),
        alternatives=MOST_ALTERNATIVES if config.logprobs else 0,
    )


def grammar_fields(config: ServerConfig) -> tuple[str, ...]:
    """The request fields in which a grammar may be sent under this config."""
    if config.structured == "auto":
        return tuple(GRAMMAR_FIELDS.values())
    return (GRAMMAR_FIELDS[config.structured],) if config.structured in GRAMMAR_FIELDS else ()
