"""Five hundred cases, a fifth of them spoilt in five ways, by every way in: order kept, nothing lost, counts right."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rationalrewards_core.__main__ import main
from rationalrewards_core.backends.openai_chat import OpenAIChat
from rationalrewards_core.critique import Unscored
from rationalrewards_core.judged import Case, Outcome
from rationalrewards_core.memo import Memo
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings
from tests.core.fault_server import Answer, Ask, completion, serving
from tests.core.serving import serving as reward_server
from tests.core.spoilt_cases import (
    COUNT,
    FAULTS,
    config_file,
    is_called,
    picture_of,
    reward_of,
    score_of,
    spoiling,
    spoilt,
)  # fmt: skip


def number_of(text: str) -> int:
    return int(text.split("case number ")[1].split("!")[0])


def test_a_fifth_of_five_hundred_cases_fails_and_harms_no_other(
    reply_text: Callable[..., str], picture: Image.Image
) -> None:
    faults = spoilt(random.Random(12))

    def script(ask: Ask) -> Answer:
        number = number_of(ask.text)
        text = reply_text(score_of(number))
        return FAULTS[faults[number]](text) if number in faults else completion(text)

    seen: dict[int, Outcome] = {}
    with serving(script) as server:
        backend = OpenAIChat(server.config(retries=0, concurrency=16, structured="none"))
        scorer = Scorer(backend, settings=ScorerSettings(ask_again=0, guided=False), memo=Memo(limit=0))

        async def work() -> tuple[Outcome, ...]:
            cases = [Case(UserRequest(f"case number {number}!"), picture) for number in range(COUNT)]
            try:
                return (await scorer.score_many(cases, on_outcome=seen.__setitem__)).outcomes
            finally:
                await scorer.close()

        outcomes = asyncio.run(work())
        asked = Counter(number_of(ask.text) for ask in server.asks if "case number" in ask.text)
    assert asked == dict.fromkeys(range(COUNT), 1), "every case is asked once"
    assert len(outcomes) == COUNT
    assert [seen[number] for number in range(COUNT)] == list(outcomes)
    for number, outcome in enumerate(outcomes):
        if number in faults:
            assert isinstance(outcome, Unscored), number
            assert is_called(outcome.reason, faults[number]), number
        else:
            assert not isinstance(outcome, Unscored), (number, outcome)
            assert outcome.scores["text_faithfulness"] == score_of(number), "the answer of another case"
    failed = Counter(outcome.reason for outcome in outcomes if isinstance(outcome, Unscored))
    assert failed.total() == COUNT // 5
    assert scorer.failures == failed


def test_the_same_through_the_command_line(
    reply_text: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five other kinds of which two are the files' own; every picture has its line, best first."""
    kinds = ("server_error", "truncated", "no_judgement", "damaged file", "missing file")
    faults = spoilt(random.Random(13), kinds)
    names = [tmp_path / "pictures" / f"{number:03d}.png" for number in range(COUNT)]
    names[0].parent.mkdir()
    for number, name in enumerate(names):
        if faults.get(number) != "missing file":
            name.write_bytes(picture_of(number) if faults.get(number) != "damaged file" else b"no picture")
    with serving(spoiling({n: kind for n, kind in faults.items() if kind in FAULTS}, reply_text)) as server:
        config = config_file(server, tmp_path / "config.toml")
        command = ["score", *map(str, names), "-p", "a cat", "--backend", "server:judge", "--config", str(config)]
        assert main([*command, "--json", "--unguided"]) == 3
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(row["image"] for row in rows) == list(map(str, names)), "each once"
    rewards = [row["reward"] for row in rows]
    assert rewards == sorted(rewards, key=lambda reward: -1.0 if reward is None else reward, reverse=True)
    for row in rows:
        number = int(Path(row["image"]).stem)
        if number not in faults:
            assert row["reward"] == pytest.approx(reward_of(number), abs=1e-4), "the answer of another picture"
            continue
        assert row["reward"] is None
        kind = "bad_request" if faults[number] not in FAULTS else faults[number]
        assert is_called(row["unscored"], kind), (number, row)
    assert rewards.count(None) == COUNT // 5


def test_the_same_through_batches_over_http(reply_text: Callable[..., str]) -> None:
    """Two of the five kinds are the callers' own."""
    kinds = ("server_error", "truncated", "no_judgement", "no picture", "no object")
    faults = spoilt(random.Random(14), kinds)
    own: dict[str, Any] = {"no picture": {"request": "a cat", "image": "%%%"}, "no object": 7}
    items = [
        own.get(faults.get(n, ""), {"request": "a cat", "image": base64.b64encode(picture_of(n)).decode()})
        for n in range(COUNT)
    ]
    answers: list[Any] = []
    counted: dict[str, int] = {}

    async def work() -> None:
        backend = OpenAIChat(server.config(retries=0, concurrency=16, structured="none"))
        async with reward_server(backend) as client:
            for start in range(0, COUNT, COUNT // 2):
                status, answer = await client.batch(items[start : start + COUNT // 2], mode="score")
                assert status == 200
                answers.extend(answer["items"])
            counted.update((await client.metrics())["unscored"])

    with serving(spoiling({n: kind for n, kind in faults.items() if kind in FAULTS}, reply_text)) as server:
        asyncio.run(work())
    assert len(answers) == COUNT
    for number, answer in enumerate(answers):
        if number in faults:
            kind = "bad_request" if faults[number] in own else faults[number]
            assert (answer["reward"], is_called(answer["unscored"]["reason"], kind)) == (None, True), number
        else:
            assert answer["scores"]["text_faithfulness"] == score_of(number), "the answer of another picture"
    share = COUNT // 5 // len(kinds)
    assert counted == {"server_error": share, "truncated": share, "no_judgement": share, "bad_request": 2 * share}
