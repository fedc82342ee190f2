"""Other trainers' own wire shapes, over real HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from aiohttp import ClientSession, web
from PIL import Image

from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.errors import BackendError
from rationalrewards_core.memo import Memo
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings
from rationalrewards_core.serving.server import ServeConfig, make_app
from training.nft.bridges import flow_factory_app, verl_omni_score
from training.nft.flow_factory import imputed, trainer_limits


def encoded() -> str:
    buffer = BytesIO()
    Image.new("RGB", (16, 16), "red").save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


PICTURE = encoded()


def scripted(*lines: Any) -> Scorer:
    return Scorer(ScriptedBackend(lines, concurrency=1), settings=ScorerSettings(ask_again=0), memo=Memo(limit=0))


def served(app: web.Application, ask: Callable[[str], Coroutine[Any, Any, Any]]) -> Any:
    async def work() -> Any:
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            return await ask(f"http://127.0.0.1:{runner.addresses[0][1]}")
        finally:
            await runner.cleanup()

    return asyncio.run(work())


def compute(scorer: Scorer, *, impute: bool = False, **changes: Any) -> Any:
    body = {"prompt": ["a", "a"], "image": [PICTURE] * 2, "video": None, "condition_images": None, "kwargs": None}

    async def ask(url: str) -> Any:
        async with ClientSession() as session, session.post(f"{url}/compute", json=body | changes) as answer:
            return await answer.json()

    return served(flow_factory_app(scorer, impute=impute), ask)  # type: ignore[arg-type]


def test_flow_factory_gets_rewards_in_order(reply_text: Callable[..., str]) -> None:
    found = compute(scripted(reply_text(faithfulness=4.0, quality=4.0), reply_text(faithfulness=1.0, quality=1.0)))
    assert found == {"rewards": [1.0, 0.0]}


def test_an_unscored_image_is_an_error_unless_the_caller_wants_a_mean(reply_text: Callable[..., str]) -> None:
    lines = (reply_text(faithfulness=4.0, quality=2.5), "no critique")
    assert "1 of 2 images are unscored" in compute(scripted(*lines))["error"]
    assert compute(scripted(*lines), impute=True) == {"rewards": [0.75, 0.75]}
    assert "could be scored" in compute(scripted("no", "none"), impute=True)["error"]
    assert imputed([0.2, None, 0.6, 0.9], ["a", "a", "a", "b"]) == pytest.approx([0.2, 0.4, 0.6, 0.9])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"image": None}, "The body needs the lists prompt and image."),
        ({"prompt": ["a"]}, "prompt, image and condition_images must be lists of one length."),
        ({"condition_images": 3}, "prompt, image and condition_images must be lists of one length."),
        ({"image": ["%", 4]}, "2 of 2 images are unscored (bad_request 2x)."),
    ],
)
def test_a_bad_call_is_answered_in_its_own_shape(change: dict[str, Any], sentence: str) -> None:
    assert compute(scripted(), **change) == {"error": sentence}


def test_a_picture_that_cannot_be_read_fails_alone(reply_text: Callable[..., str]) -> None:
    good = reply_text(faithfulness=4.0, quality=4.0)
    assert compute(scripted(good), image=[PICTURE, "%"], impute=True) == {"rewards": [1.0, 1.0]}
    assert "1 of 2 images are unscored (bad_request 1x)" in compute(scripted(good), image=[PICTURE, "%"])["error"]


def test_the_reward_servers_checks_and_limits_hold_here_too(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody has judged anything in any of these calls."""
    body = json.dumps({"prompt": ["a"], "image": [PICTURE]}).encode()
    json_body = {"Content-Type": "application/json"}
    small = replace(trainer_limits(), max_body_bytes=100, max_waiting=1)
    cases = [
        (trainer_limits(), body, {"Content-Type": "text/plain"}, 415, "Send the body as"),
        (trainer_limits(), body, {**json_body, "Origin": "http://evil.example"}, 403, "web pages of another site"),
        (trainer_limits(), body, {**json_body, "Host": "evil.example"}, 403, "not under another name"),
        (trainer_limits(), b"[1]", json_body, 400, "must be a JSON object"),
        (trainer_limits(), b"{", json_body, 400, "not valid JSON"),
        (trainer_limits(), b"no gzip", {**json_body, "Content-Encoding": "gzip"}, 400, "not packed as its headers"),
        (small, body, json_body, 413, "at most 100 bytes"),
        (small, b'{"prompt": [1, 2], "image": [1, 2]}', json_body, 400, "A call may hold 1 images, not 2."),
        (replace(trainer_limits(), token="a-long-secret"), body, json_body, 401, "Authorization"),
    ]
    for config, content, headers, status, words in cases:

        async def ask(url: str, content: bytes = content, headers: dict[str, str] = headers) -> tuple[int, Any]:
            posted = {"data": content, "headers": headers}
            async with ClientSession() as session, session.post(f"{url}/compute", **posted) as answer:  # type: ignore[arg-type]
                return answer.status, await answer.json()

        found = served(flow_factory_app(scripted(), config=config), ask)  # type: ignore[arg-type]
        assert found[0] == status, (words, found)
        assert set(found[1]) == {"error"}
        assert words in found[1]["error"]


def test_a_fault_of_the_server_stays_in_its_log(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        async def score_many(self, cases: Any, mode: str) -> Any:
            raise RuntimeError("/srv/secret/judge.py failed")

    async def ask(url: str) -> Any:
        body = {"prompt": ["a"], "image": [PICTURE]}
        async with ClientSession() as session, session.post(f"{url}/compute", json=body) as answer:
            return answer.status, await answer.json()

    found = served(flow_factory_app(Broken()), ask)  # type: ignore[arg-type]
    assert found == (500, {"error": "The server failed on this call; its log says why."})
    assert "/srv/secret" in caplog.text


def test_verl_omni_gets_a_score_and_the_words(reply_text: Callable[..., str]) -> None:
    scorer = scripted(reply_text(faithfulness=4.0, quality=2.5), "no critique")
    picture = torch.rand(3, 16, 16)

    async def ask(url: str) -> Any:
        first = await verl_omni_score("t2i", picture, "a red circle", server=url)
        with pytest.raises(BackendError, match="unscored"):
            await verl_omni_score("t2i", picture * 0.5, "a red circle", server=url)
        return first

    found = served(make_app(scorer, ServeConfig()), ask)
    assert found["score"] == pytest.approx(0.75)
    assert found["dimension_text_faithfulness"] == 4.0
    assert "# Detailed Judgement" in found["response"]
