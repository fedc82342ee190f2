"""Other trainers' own wire shapes, over real HTTP."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Coroutine
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
from rationalrewards_core.scorer import Scorer, ScorerSettings
from rationalrewards_core.server import ServeConfig, make_app
from training.nft.bridges import flow_factory_app, imputed, verl_omni_score


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
    buffer = BytesIO()
    Image.new("RGB", (16, 16), "red").save(buffer, format="PNG")
    picture = base64.b64encode(buffer.getvalue()).decode()
    body = {"prompt": ["a", "a"], "image": [picture] * 2, "video": None, "condition_images": None, "kwargs": None}

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


@pytest.mark.parametrize("change", [{"image": None}, {"prompt": ["a"]}, {"image": ["%", "%"]}])
def test_a_bad_call_is_answered_in_its_own_shape(change: dict[str, Any]) -> None:
    assert set(compute(scripted(), **change)) == {"error"}


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
