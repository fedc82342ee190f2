"""What comes back from a chat server: fields, probabilities, oddities."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from rationalrewards_core.backends.base import Finish, Sampling, TokenChoice
from rationalrewards_core.backends.openai_chat import OpenAIChat
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.scorer import Scorer
from tests.core.chat_calls import closing, once
from tests.core.fault_server import (
    completion,
    raw,
    serving,
    slowly,
)

Text = Callable[..., str]


class TestWhatComesBack:
    def test_fields_of_a_reply(self, caplog: pytest.LogCaptureFixture) -> None:
        with serving(lambda ask: slowly(completion("fine", model="judge-8b-awq"), 0.05)) as server:
            reply = asyncio.run(once(server.config()))
        assert (reply.text, reply.finish, reply.model) == ("fine", Finish.STOP, "judge-8b-awq")
        assert (reply.prompt_tokens, reply.completion_tokens) == (11, 7)
        assert 0.05 <= reply.seconds < 5
        assert caplog.messages == ["server 'judge' was asked for 'judge-8b' and answers as 'judge-8b-awq'"]

    def test_a_revision_behind_the_name_is_no_other_model(self, caplog: pytest.LogCaptureFixture) -> None:
        with serving(lambda ask: completion("fine", model="judge-8b@main")) as server:
            asyncio.run(once(server.config()))
        assert caplog.messages == []

    def test_the_first_of_several_choices_is_the_reply(self) -> None:
        choices = [{"index": n, "message": {"content": str(n)}, "finish_reason": "stop"} for n in (1, 0)]
        with serving(lambda ask: raw(json.dumps({"choices": choices}))) as server:
            assert asyncio.run(once(server.config())).text == "0"

    def test_content_in_parts_and_half_characters(self) -> None:
        parts = [{"type": "text", "text": "a"}, {"type": "audio"}, {"type": "thinking", "text": "x"}, {"text": "b"}]
        answers = [completion(parts), completion("half \ud83d end")]
        with serving(lambda ask: answers[ask.number]) as server:
            assert asyncio.run(once(server.config())).text == "ab"
            text = asyncio.run(once(server.config())).text
        assert text.encode("utf-8") == b"half ? end"

    def test_token_probabilities(self) -> None:
        rows = [
            {
                "token": "3",
                "logprob": math.log(0.75),
                "top_logprobs": [
                    {"token": "3", "logprob": math.log(0.75)},
                    {"token": "4", "logprob": math.log(0.25)},
                    {"token": "5", "logprob": -9999.0},
                ],
            },
            {"token": ".", "logprob": 0.0, "top_logprobs": []},
        ]
        with serving(lambda ask: completion("3.", choice={"logprobs": {"content": rows}})) as server:
            reply = asyncio.run(once(server.config(), Sampling(alternatives=3)))
        assert [choice.text for choice in reply.tokens] == ["3", "."]
        assert reply.tokens[0].alternatives == (("3", pytest.approx(0.75)), ("4", pytest.approx(0.25)), ("5", 0.0))
        assert reply.tokens[1] == TokenChoice(".", ())

    def test_probabilities_become_expected_scores(self, reply_text: Text, picture: Image.Image) -> None:
        text = reply_text(3.0, 3.5)
        before, after = text.split("3.0", 1)
        rows: list[dict[str, Any]] = [{"token": piece, "top_logprobs": []} for piece in (before, "3", ".", "0", after)]
        rows[1]["top_logprobs"] = [{"token": t, "logprob": math.log(p)} for t, p in (("3", 0.75), ("4", 0.25))]
        with serving(lambda ask: completion(text, choice={"logprobs": {"content": rows}})) as server:
            scorer = Scorer(OpenAIChat(server.config()))
            critique = asyncio.run(closing(scorer, scorer.critique(UserRequest("a"), picture)))
        assert critique.judgements[0].expected == pytest.approx(3.25)

    @pytest.mark.parametrize(
        "logprobs",
        [
            {"content": "x"},
            {"content": [3]},
            {"content": [{"token": "a", "top_logprobs": 5}]},
            {"content": [{"token": "a", "top_logprobs": [{"logprob": -1}, {"token": "b", "logprob": "x"}, 4]}]},
            {"content": [{"token": "a", "top_logprobs": [{"token": "b", "logprob": 1e9}]}]},
            {"content": [{"token": "a", "top_logprobs": [{"token": "b", "logprob": math.nan}]}]},
            [1],
        ],
    )
    def test_odd_probabilities_are_left_out(self, logprobs: Any) -> None:
        with serving(lambda ask: completion("a", choice={"logprobs": logprobs})) as server:
            reply = asyncio.run(once(server.config(), Sampling(alternatives=3)))
        assert reply.text == "a"
        assert not [pair for choice in reply.tokens for pair in choice.alternatives]

    @pytest.mark.parametrize(
        "usage", [None, 3, {"prompt_tokens": "many"}, {"prompt_tokens": math.inf}, {"prompt_tokens": -1}]
    )
    def test_odd_usage_counts_as_nothing(self, usage: Any) -> None:
        with serving(lambda ask: completion("a", usage=usage)) as server:
            assert asyncio.run(once(server.config())).prompt_tokens == 0
