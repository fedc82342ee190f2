"""`max_tokens` of Load Rational Scorer: what is set reaches the judge, and a critique that was cut off says where to raise it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.nodes.comfy_stub import Pack
from tests.nodes.test_scorers import engine, judge, picture, request_of, scorer_of

__all__ = ["engine", "request_of"]
pytestmark = pytest.mark.usefixtures("quiet")


@pytest.mark.parametrize(("widget", "limit"), [(0, None), (1, 1), (4096, 4096), (16384, 16384)])
def test_the_widget_is_the_limit_of_a_critique(pack: Pack, widget: int, limit: int | None) -> None:
    assert loaded(pack, widget).max_tokens == limit


@pytest.mark.parametrize("widget", [-1, 16385, float("nan"), True, "2048", None])
def test_another_value_is_refused_in_a_sentence(pack: Pack, widget: Any) -> None:
    with pytest.raises(pack.core("errors").ConfigError, match="max_tokens must be a number from 0 to 16384"):
        loaded(pack, widget)


def loaded(pack: Pack, widget: Any) -> Any:
    node = pack.module("nodes.load_scorer").LoadScorer
    values = {"engine": {"engine": "miniature"}, "rubric": "automatic", "memory": "keep loaded"}
    return asyncio.run(node.execute(**values, max_tokens=widget)).args[0]


@pytest.mark.parametrize(("limit", "sampled"), [(None, 100), (777, 777)])
def test_the_limit_reaches_the_judge(
    pack: Pack, engine: Any, request_of: Any, reply_text: Any, limit: int | None, sampled: int
) -> None:
    limits = []

    class Watched(engine):  # type: ignore[misc]
        async def reply(self, messages: Any, sampling: Any) -> Any:
            limits.append(sampling.max_tokens)
            return await super().reply(messages, sampling)

    judge(scorer_of(pack, Watched([reply_text(4, 4, 4)]), max_tokens=limit), request_of("a cat"), [picture()])
    assert limits == [sampled]


def test_a_critique_that_was_cut_off_names_the_widget(
    pack: Pack, engine: Any, request_of: Any, reply_text: Any
) -> None:
    reply = pack.core("backends.base").Reply
    cut = reply(text=reply_text(4, 4, 4)[:120], finish=pack.core("backends.base").Finish.LENGTH, model="scripted")
    critiques = judge(scorer_of(pack, engine([cut, cut, cut])), request_of("a cat"), [picture()])
    (outcome,) = critiques.outcomes
    assert outcome.reason == "truncated"
    assert "raise max_tokens on Load Rational Scorer (an advanced widget)" in outcome.message
