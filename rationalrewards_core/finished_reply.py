"""A backend's reply as a critique, if the model ended it of its own accord."""

from __future__ import annotations

from .backends.base import Finish, Reply
from .critique import Critique, with_probabilities
from .errors import CritiqueParseError
from .probabilities import score_statistics
from .replies.parsing import Mode, Reason, parse_critique
from .rubric import Rubric


def read_reply(reply: Reply, rubric: Rubric, mode: Mode) -> Critique:
    """A backend's reply as a critique, with `expected` and `spread` where its tokens tell them."""
    check_finished(reply)
    critique = parse_critique(reply.text, rubric, mode)
    return with_probabilities(critique, score_statistics(reply, critique, rubric))


def check_finished(reply: Reply) -> None:
    """CritiqueParseError unless the model ended its reply of its own accord."""
    if reply.finish is Finish.LENGTH:
        message = f"The reply was cut off after {reply.completion_tokens} tokens; raise max_tokens."
        raise CritiqueParseError(Reason.TRUNCATED.value, message, reply.text)
    if reply.finish is Finish.CONTEXT:
        message = (
            f"The server's context was full after {reply.prompt_tokens} tokens of the question and {reply.completion_tokens} of "
            "the reply; start it with a larger one (vLLM: --max-model-len; llama.cpp: -c, which -np divides), or lower "
            "max_pixels in the config file."
        )
        raise CritiqueParseError(Reason.TRUNCATED.value, message, reply.text)
    if reply.finish is Finish.OTHER:
        # What stands there may be cut anywhere, and its last words would become the next prompt.
        if not reply.text.strip():
            message = "The model ended without a reply (a content filter?)."
            raise CritiqueParseError(Reason.EMPTY.value, message, reply.text)
        message = "The server broke the reply off (an error or a content filter), so it is not used."
        raise CritiqueParseError(Reason.TRUNCATED.value, message, reply.text)
