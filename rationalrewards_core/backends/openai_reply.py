"""A chat server's answer -> a reply, or the reason why there is none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from ..errors import BackendError
from ..servers import ServerConfig
from ..thinking import after_thoughts
from .base import Finish, Reply, Sampling
from .openai_wire import (
    LIKELY_SECRET,
    LONGEST_COMPLAINT,
    complaint,
    content_text,
    first_choice,
    redacted,
    thoughts,
    token_choices,
    token_count,
)

_FINISH: Final = {
    **dict.fromkeys(("stop", "eos", "eos_token", "stop_sequence", "end_turn"), Finish.STOP),
    **dict.fromkeys(("length", "max_tokens"), Finish.LENGTH),
}
"""How servers call an end, in any case; one that says nothing at all is an old one and has ended."""


class ReplyReader:
    """Reads the answers of one server."""

    def __init__(self, config: ServerConfig, who: str, key: str) -> None:
        self._config, self._who, self._key = config, who, key

    def read(self, answer: dict[str, Any], model: str, sampling: Sampling, seconds: float) -> Reply:
        """The reply. BackendError (`bad_reply`, `refused`) if the answer holds none."""
        choice = first_choice(answer)
        failure = answer if answer.get("error") or choice is None else choice
        if choice is None or failure.get("error"):  # whatever text stands beside an error is cut off somewhere
            reason = f": {complaint(json.dumps(failure), self._key)}" if failure.get("error") else ""
            raise BackendError(f"{self._who} sent no reply in its answer{reason}.", reason="bad_reply", status=200)
        usage = answer.get("usage")
        finish = self._finish(choice, token_count(usage, "completion_tokens"), sampling)
        content = self._content(answer, choice, finish)
        text = redacted(content or "", self._key) if len(self._key) >= LIKELY_SECRET else content or ""
        answer_at = after_thoughts(text)  # a draft before the end of thoughts may hold a stop text too
        cut = sampling.end(text, answer_at)
        return Reply(
            text=text[:cut],
            finish=finish if cut is None else Finish.STOP,
            model=redacted(content_text(answer.get("model")) or model, self._key),
            prompt_tokens=token_count(usage, "prompt_tokens"),
            completion_tokens=token_count(usage, "completion_tokens"),
            seconds=seconds,
            tokens=token_choices(choice.get("logprobs")) if text == content else (),
        )

    def _finish(self, choice: Mapping[str, Any], tokens: int, sampling: Sampling) -> Finish:
        """Why the reply ended. Servers clamp a reply to their context without a word, and some call every end a stop."""
        word = choice.get("finish_reason")
        finish = Finish.STOP if word is None else _FINISH.get(str(word).lower(), Finish.OTHER)
        most = sampling.max_tokens + self._config.thinking_tokens
        if finish is Finish.STOP and tokens >= most:
            return Finish.LENGTH
        return Finish.CONTEXT if finish is Finish.LENGTH and 0 < tokens < most - 1 else finish

    def _content(self, answer: Mapping[str, Any], choice: Mapping[str, Any], finish: Finish) -> str | None:
        """The text that is the answer; None if there is none and the reply was cut off."""
        message = choice["message"]
        text, refusal = content_text(message.get("content")), content_text(message.get("refusal"))
        if refusal and not text:
            complaint_text = redacted(refusal, self._key)[:LONGEST_COMPLAINT]
            raise BackendError(f"{self._who} refused to judge: {complaint_text}", reason="refused", status=200)
        if not text and thoughts(answer):
            name = self._config.name
            raise BackendError(
                f"{self._who} only thought and wrote no reply; under [servers.{name}] in the config file set thinking = "
                '"off", or thinking_tokens to the tokens that it may think.',
                reason="bad_reply",
                status=200,
            )
        if text is None and (finish is Finish.STOP or message.get("content") is not None):
            raise BackendError(f"{self._who} sent a reply without text.", reason="bad_reply", status=200)
        return text
