"""The judge behind our reward server, over real HTTP: order, weights, failures that stay failures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("torch")

from aiohttp import web
from PIL import Image

from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.critique import Critique, Unscored
from rationalrewards_core.errors import BackendError
from rationalrewards_core.judged import Case, Outcome
from rationalrewards_core.memo import Memo
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.rubric_file import generation_rubric
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings
from rationalrewards_core.serving.server import ServeConfig, make_app
from training.nft.rewards import make_judge
from training.rewards.reward_server import RemoteJudge

REQUEST = UserRequest("a red circle")


def cases(count: int) -> list[Case]:
    return [Case(REQUEST, Image.new("RGB", (8, 8), (i, 0, 0))) for i in range(count)]


def judged(app: web.Application, count: int, **options: Any) -> tuple[tuple[Outcome, ...], RemoteJudge]:
    async def work() -> tuple[tuple[Outcome, ...], RemoteJudge]:
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        judge = RemoteJudge(f"http://127.0.0.1:{runner.addresses[0][1]}/", **options)
        try:
            return (await judge.score_many(cases(count), "score")).outcomes, judge
        finally:
            await judge.close()
            await runner.cleanup()

    return asyncio.run(work())


def test_critiques_come_in_order_under_the_servers_weights(reply_text: Callable[..., str]) -> None:
    lines = [reply_text(faithfulness=1.0 + i / 2, quality=4.0) for i in range(3)] + ["no critique"]
    heavy = generation_rubric()
    dimensions = tuple(replace(d, weight=3.0 if d.key == "text_faithfulness" else 1.0) for d in heavy.dimensions)
    scorer = Scorer(
        ScriptedBackend(lines, concurrency=1),
        {"generation": replace(heavy, dimensions=dimensions)},
        ScorerSettings(ask_again=0),
        Memo(limit=0),
    )
    outcomes, judge = judged(make_app(scorer, ServeConfig()), 4, batch=2, together=1)
    scored = [outcome for outcome in outcomes if isinstance(outcome, Critique)]
    assert [critique.scores["text_faithfulness"] for critique in scored] == [1.0, 1.5, 2.0]
    assert judge.reward(scored[1], REQUEST) == pytest.approx((3 * 0.5 / 3 + 1.0) / 4)
    assert isinstance(outcomes[3], Unscored)


def test_a_call_is_tried_again_and_then_unscored(reply_text: Callable[..., str]) -> None:
    asked: list[str] = []

    async def rubric(request: web.Request) -> web.Response:
        asked.append("rubric")
        if len(asked) == 1:
            return web.json_response({"error": {"message": "not yet"}}, status=503)
        return web.json_response({})

    async def batch(request: web.Request) -> web.Response:
        asked.append("batch")
        return web.json_response({"error": {"message": "the queue is full"}}, status=429)

    app = web.Application()
    app.add_routes([web.get("/v1/rubric", rubric), web.post("/v1/critique/batch", batch)])
    outcomes, _ = judged(app, 3, attempts=2)
    assert asked == ["rubric", "rubric", "batch", "batch"]
    assert [outcome.reason for outcome in outcomes if isinstance(outcome, Unscored)] == ["reward_server"] * 3
    assert "the queue is full" in outcomes[0].message  # type: ignore[union-attr]


def test_it_has_a_name() -> None:
    from training.nft.config import RewardsConfig

    assert isinstance(make_judge("reward-server:http://127.0.0.1:1", RewardsConfig()), RemoteJudge)


def item(score: Any, **other: Any) -> dict[str, Any]:
    judgement = {"key": "text_faithfulness", "justification": "", "score": score, "expected": None, "spread": None}
    critique = {"rubric": "g", "analysis": "", "judgements": [judgement | other], "summary": "", "refinement": None}
    return {"unscored": None, "critique": critique | {"raw": ""}}


def somebody_elses(change: Callable[[list[Any]], Any]) -> web.Application:
    """A reward server whose items for four pictures are worse and worse, changed in one way."""

    async def rubric(_: web.Request) -> web.Response:
        dimension = {"key": "text_faithfulness", "title": "T", "optional": False, "weight": 1.0}
        return web.json_response({"generation": {"name": "g", "scale": [1, 4], "dimensions": [dimension]}})

    async def batch(_: web.Request) -> web.Response:
        return web.json_response({"items": change([item(4.0), item(3.0), item(2.0), item(1.0)])})

    app = web.Application(client_max_size=2**26)
    app.add_routes([web.get("/v1/rubric", rubric), web.post("/v1/critique/batch", batch)])
    return app


@pytest.mark.parametrize(
    ("what", "change", "failing"),
    [
        ("one item too few", lambda items: items[1:], {0, 1, 2, 3}),
        ("one item too many", lambda items: [item(1.0), *items], {0, 1, 2, 3}),
        ("no list", lambda items: {"first": items[0]}, {0, 1, 2, 3}),
        ("NaN", lambda items: [item(float("nan")), *items[1:]], {0}),
        ("another scale", lambda items: [items[0], item(7.5), *items[2:]], {1}),
        ("a score in words", lambda items: [*items[:3], item("4.0")], {3}),
        ("an expected score off the scale", lambda items: [item(4.0, expected=10.0), *items[1:]], {0}),
        ("no score where one is due", lambda items: [item(None), *items[1:]], {0}),
        ("another dimension", lambda items: [item(4.0, key="overall"), *items[1:]], {0}),
        ("more than a float can hold", lambda items: [item(10**400), *items[1:]], {0}),
        ("an expected score without end", lambda items: [item(4.0, expected=10**400), *items[1:]], {0}),
        ("a spread in words", lambda items: [item(4.0, spread="small"), *items[1:]], {0}),
        ("a spread without end", lambda items: [item(4.0, spread=10**400), *items[1:]], {0}),
        ("a justification that is no text", lambda items: [item(4.0, justification=5), *items[1:]], {0}),
        ("no object", lambda items: [None, *items[1:]], {0}),
        ("no critique", lambda items: [{"unscored": None}, *items[1:]], {0}),
    ],
)
def test_bad_answers_fail_the_pictures_concerned_and_no_others(
    what: str, change: Callable[[list[Any]], Any], failing: set[int]
) -> None:
    outcomes, judge = judged(somebody_elses(change), 4, attempts=1)
    assert len(outcomes) == 4
    assert {place for place, outcome in enumerate(outcomes) if isinstance(outcome, Unscored)} == failing, what
    for place, outcome in enumerate(outcomes):
        if isinstance(outcome, Critique):
            assert judge.reward(outcome, REQUEST) == pytest.approx((3 - place) / 3), what
        else:
            assert outcome.reason == "reward_server"
            assert str(outcome.message)


@pytest.mark.parametrize(
    ("status", "content"),
    [(200, "[]"), (200, "null"), (400, '{"error": "no"}'), (500, '["no"]'), (200, '{"items"'), (200, "[" * 200_000)],
)
def test_an_answer_that_is_no_object_is_no_answer(status: int, content: str) -> None:
    async def odd(_: web.Request) -> web.Response:
        return web.Response(status=status, text=content, content_type="application/json")

    other = web.Application()
    other.add_routes([web.get("/v1/rubric", odd), web.post("/v1/critique/batch", odd)])
    with pytest.raises(BackendError, match="did not answer /v1/rubric"):
        judged(other, 4, attempts=1)


@pytest.mark.parametrize(
    "table",
    [
        {"name": "g"},
        {"name": "g", "scale": ["1", "4"], "dimensions": []},
        {"name": "g", "scale": [1, 4], "dimensions": []},
        {"name": "g", "scale": [1, 10**400], "dimensions": []},
        {"name": "g", "scale": [1, 4], "dimensions": [{"key": 5, "title": "T", "optional": False, "weight": 1.0}]},
    ],
)
def test_a_rubric_that_cannot_be_used_is_said_and_never_replaced_by_ours(table: dict[str, Any]) -> None:
    async def rubric(_: web.Request) -> web.Response:
        return web.json_response({"generation": table})

    async def work() -> None:
        app = web.Application()
        app.add_routes([web.get("/v1/rubric", rubric)])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        judge = RemoteJudge(f"http://127.0.0.1:{runner.addresses[0][1]}", attempts=1)
        for _ in range(2):
            with pytest.raises(BackendError, match="generation rubric that cannot be used"):
                await judge.score_many(cases(1), "score")
        await judge.close()
        await runner.cleanup()

    asyncio.run(work())
