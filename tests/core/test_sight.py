"""A judge behind a server shows once that it sees pictures; a server is known by the model that it lists."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from PIL import Image

from rationalrewards_core.backends.openai_chat import OpenAIChat
from rationalrewards_core.critique import Critique, Unscored
from rationalrewards_core.judged import Case, Outcome
from rationalrewards_core.memo import Memo
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings
from tests.core.fault_server import Answer, Ask, FaultServer, Script, completion, fault, raw, serving

CASE = Case(UserRequest("a red circle"), Image.new("RGB", (64, 64), "red"))


@pytest.fixture
def critique(reply_text: Any) -> str:
    return str(reply_text())


def pictures(ask: Ask) -> list[str]:
    content = ask.body["messages"][-1]["content"]
    return [p["image_url"]["url"] for p in content if p["type"] == "image_url"] if isinstance(content, list) else []


def script(text: str, tokens: Any) -> Script:
    """A server that writes a critique and says that a prompt had `tokens(ask)` tokens."""

    def answer(ask: Ask) -> Answer:
        counted = tokens(ask)
        return completion(text, usage=None if counted is None else {"prompt_tokens": counted})

    return answer


def sees(ask: Ask) -> int:
    return 12 + 64 * len(pictures(ask))


BLIND = {
    "drops pictures": lambda ask: 12,
    "puts a word in their place": lambda ask: 12 + 3 * len(pictures(ask)),
    "hands them on as text": lambda ask: 12 + sum(len(url) // 3 for url in pictures(ask)),
}


def judged(server: FaultServer, cases: int = 1, memo: Memo | None = None, **options: Any) -> tuple[Outcome, ...]:
    async def work() -> tuple[Outcome, ...]:
        config = server.config(**{"check_sight": True, "retries": 0, **options})
        scorer = Scorer(OpenAIChat(config), settings=ScorerSettings(ask_again=0), memo=memo)
        try:
            return (await scorer.score_many([CASE] * cases)).outcomes
        finally:
            await scorer.close()

    return asyncio.run(work())


def test_a_judge_that_sees_is_asked_four_questions_once(critique: str) -> None:
    with serving(script(critique, sees)) as server:
        assert isinstance(judged(server)[0], Critique)
        assert [len(pictures(ask)) for ask in server.asks] == [0, 1, 1, 2, 1]
        assert isinstance(judged(server)[0], Critique)
        assert len(server.asks) == 6, "it is remembered"


@pytest.mark.parametrize("kind", BLIND)
def test_a_model_without_eyes_scores_nothing(kind: str, critique: str) -> None:
    with serving(script(critique, BLIND[kind])) as server:
        outcomes = judged(server, cases=5)
        assert len(server.asks) == 3, "it is asked no more"
    for outcome in outcomes:
        assert isinstance(outcome, Unscored)
        assert outcome.reason == "no_sight"
        assert "check_sight = false" in outcome.message
        assert "\n" not in outcome.message


def test_a_server_that_refuses_pictures_scores_nothing(critique: str) -> None:
    def answer(ask: Ask) -> Answer:
        return fault(400, "text-only is not a multimodal model") if pictures(ask) else completion(critique)

    with serving(answer) as server:
        outcome = judged(server)[0]
    assert isinstance(outcome, Unscored)
    assert outcome.reason == "no_sight"
    assert "not a multimodal model" in outcome.message


def test_a_server_that_is_out_of_order_is_not_called_blind(critique: str) -> None:
    with serving(lambda ask: fault(503)) as server:
        outcome = judged(server)[0]
        assert isinstance(outcome, Unscored)
        assert outcome.reason == "server_error"
        server.script = script(critique, sees)
        assert isinstance(judged(server)[0], Critique)


def test_a_server_that_counts_nothing_judges_and_it_is_said(critique: str, caplog: pytest.LogCaptureFixture) -> None:
    with serving(script(critique, lambda ask: None)) as server, caplog.at_level(logging.WARNING, "rationalrewards"):
        assert isinstance(judged(server)[0], Critique)
    assert "counts no tokens" in caplog.text


def test_the_question_can_be_switched_off(critique: str) -> None:
    with serving(script(critique, lambda ask: 12)) as server:
        assert isinstance(judged(server, check_sight=False)[0], Critique)
        assert len(server.asks) == 1


def listing(**entry: Any) -> Answer:
    return raw(json.dumps({"data": [{"id": "judge-8b", **entry}]}))


def test_another_model_behind_the_same_address_is_another_judge(critique: str) -> None:
    memo = Memo()
    with serving(script(critique, sees)) as server:
        server.models = listing(created=1, meta={"size": 1, "n_params": 10})
        judged(server, memo=memo)
        server.models = listing(created=2, meta={"size": 1, "n_params": 10})
        judged(server, memo=memo)
        assert (memo.hits, memo.misses) == (1, 1), "a time that the list names is no other model"
        asked = len(server.asks)
        server.models = listing(created=2, meta={"size": 2, "n_params": 20})
        judged(server, memo=memo)
        assert (memo.hits, memo.misses) == (1, 2)
        assert len(server.asks) == asked + 5, "and it has to show that it sees"


@pytest.mark.parametrize("status", [404, 500])
def test_a_server_without_a_list_judges(status: int, critique: str) -> None:
    """`transformers serve` breaks over its list where it has no cache folder; it is not asked for it again and again."""
    with serving(script(critique, sees)) as server:
        server.models = fault(status)
        assert isinstance(judged(server, retries=4)[0], Critique)
        assert server.model_lists == 1


def test_without_a_list_the_user_has_to_name_the_model(critique: str) -> None:
    with serving(script(critique, sees)) as server:
        server.models = fault(500)
        outcome = judged(server, model="")[0]
    assert isinstance(outcome, Unscored)
    assert "set model in the config file" in outcome.message
