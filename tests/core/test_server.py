"""The reward server over real HTTP: one image, and batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rationalrewards_core.backends.base import Finish, Reply, Sampling
from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.critique import Critique, Judgement, Refinement, render_critique
from rationalrewards_core.errors import BackendError, RationalRewardsError
from rationalrewards_core.messages import Message
from rationalrewards_core.rubric_file import edit_rubric
from tests.core.serving import Held, encoded, run, serving

ROOT = Path(__file__).resolve().parents[2]
Text = Callable[..., str]


@pytest.fixture
def png(picture: Image.Image) -> str:
    return encoded(picture)


class TestOneImage:
    @pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
    def test_a_critique_with_its_reward(self, reply_text: Text, picture: Image.Image, form: str) -> None:
        backend = ScriptedBackend([reply_text(3.0, 4.0)])

        async def work() -> None:
            async with serving(backend) as client:
                status, answer = await client.critique(request="a cat", image=encoded(picture, form))
            assert status == 200
            assert answer["scores"] == {"text_faithfulness": 3.0, "physical_quality": 4.0, "text_rendering": None}
            assert answer["reward"] == pytest.approx((2 / 3 + 1) / 2)
            assert answer["critique"]["refinement"]["request"] == "a better request"
            assert answer["unscored"] is None

        run(work())
        (image,) = [part for m in backend.calls[0][0] for part in m.parts if isinstance(part, Image.Image)]
        assert image.size == picture.size
        assert all(abs(a - b) < 8 for a, b in zip(image.getpixel((3, 3)), (200, 40, 40), strict=True))  # type: ignore[arg-type]

    def test_data_urls_and_the_score_mode(self, reply_text: Text, png: str) -> None:
        backend = ScriptedBackend([reply_text()])

        async def work() -> None:
            async with serving(backend) as client:
                status, answer = await client.critique(
                    request="a cat", image=f"data:image/png;base64,{png}", mode="score"
                )
            assert (status, answer["critique"]["refinement"]) == (200, None)

        run(work())
        assert backend.calls[0][1].stop == ("\n# Summary",)

    def test_an_edit_is_judged_under_the_edit_rubric(self, png: str) -> None:
        rubric = edit_rubric()
        judged = tuple(Judgement(key=d.key, justification="seen", score=2.0) for d in rubric.dimensions)
        critique = Critique(
            rubric="edit",
            analysis="An edit.",
            judgements=judged,
            summary="Weak.",
            refinement=Refinement(comments="Say more.", request="make all of it blue"),
        )
        backend = ScriptedBackend([render_critique(critique, rubric)])

        async def work() -> None:
            async with serving(backend) as client:
                status, answer = await client.critique(request="make it blue", image=png, sources=[png])
            assert status == 200
            assert list(answer["scores"]) == [d.key for d in rubric.dimensions]
            assert answer["reward"] == pytest.approx(1 / 3)

        run(work())
        assert sum(isinstance(part, Image.Image) for m in backend.calls[0][0] for part in m.parts) == 2

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("I cannot help with that.", "no_judgement"),
            (Reply(text="# Detailed Judgement", finish=Finish.LENGTH, model="m"), "truncated"),
            (BackendError("The server is down.", reason="connection"), "connection"),
        ],
    )
    def test_a_failure_of_the_judge_is_a_reason_and_never_a_number(self, png: str, line: Any, reason: str) -> None:
        async def work() -> None:
            async with serving(ScriptedBackend([line])) as client:
                status, answer = await client.critique(request="a cat", image=png)
            seconds = answer.pop("seconds")
            assert status == 200
            assert answer["unscored"].pop("message")
            assert answer == {"reward": None, "scores": None, "critique": None, "unscored": {"reason": reason}}
            assert seconds >= 0

        run(work())

    def test_too_slow_is_unscored_and_gives_its_place_back(self, reply_text: Text, png: str) -> None:
        async def work() -> None:
            backend = Held(reply_text())
            async with serving(backend, request_seconds=0.05) as client:
                status, answer = await client.critique(request="a cat", image=png)
                assert (status, answer["reward"], answer["unscored"]["reason"]) == (200, None, "timeout")
                assert backend.running == 0
                assert (await client.metrics())["waiting"] == 0

        run(work())


class TestBatch:
    def test_order_is_kept_and_one_bad_item_harms_no_other(self, reply_text: Text, png: str) -> None:
        def answer(messages: Sequence[Message], sampling: Sampling) -> str:
            number = int(messages[-1].text.split("request ")[1].split("\n")[0])
            return "nonsense" if number == 2 else reply_text(1.0 + number / 10)

        good = [{"request": f"request {number}", "image": png} for number in range(4)]
        bad: list[dict[str, Any]] = [
            {"request": "x", "image": "%%%"},
            {"request": "x"},
            {"request": "", "image": png},
            {"request": "\ud800", "image": png},
            {"request": "x", "image": png, "seed": 3},
            {"request": "x", "image": png, "sources": [png, 4]},
            {"request": "x", "image": encoded(Image.new("RGB", (40, 40)))},
            {},
            {"request": ["x"], "image": png},
            {"request": "x", "image": 7},
            {"request": "x", "image": png, "sources": {"0": png}},
            {"request": "x", "image": png, "sources": [png] * 9},
            [png],
            "x",
            3,
            True,
            None,
        ]

        async def work() -> None:
            async with serving(ScriptedBackend(answer), max_pixels=1000) as client:
                status, answers = await client.batch([*good, *bad], mode="score")
                metrics = await client.metrics()
            assert status == 200
            found = [
                i["unscored"]["reason"] if i["unscored"] else i["scores"]["text_faithfulness"] for i in answers["items"]
            ]
            assert found == [1.0, 1.1, "no_judgement", 1.3, *["bad_request"] * 17]
            assert all(i["reward"] is None for i in answers["items"] if i["unscored"])
            assert answers["failure_rate"] == pytest.approx(18 / 21)
            messages = [i["unscored"]["message"] for i in answers["items"][4:]]
            expected = ["base64", "image must", "empty", "surrogate", "unknown field 'seed'", "sources[1]", "40 x 40",
                        "request must", "request must", "image must", "at most 8", "at most 8", "not a list.",
                        "not a text.", "not a number.", "not true or false.", "not null."]  # fmt: skip
            assert all(part in message for part, message in zip(expected, messages, strict=True)), messages
            assert all(message.endswith(".") and "\n" not in message for message in messages)
            assert metrics["unscored"] == {"no_judgement": 1, "bad_request": 17}

        run(work())

    def test_the_backends_concurrency_holds_over_all_calls(self, reply_text: Text, png: str) -> None:
        async def work() -> None:
            backend = Held(reply_text(), concurrency=3)
            async with serving(backend) as client:
                items = [{"request": f"request {n}", "image": png} for n in range(10)]
                calls = [asyncio.create_task(client.batch(items)) for _ in range(2)]
                await client.until_waiting(20)
                async with asyncio.timeout(10):
                    while backend.running < 3:  # the images are read first
                        await asyncio.sleep(0.005)
                backend.release.set()
                assert [status for status, _ in await asyncio.gather(*calls)] == [200, 200]
            assert backend.most == 3

        run(work())

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ({"items": []}, "items must hold 1 to 3 entries, not 0."),
            ({"items": [{}] * 4}, "items must hold 1 to 3 entries, not 4."),
            ({"items": {}}, "items must be a list of objects."),
            ({"items": "x"}, "items must be a list of objects."),
            ({"items": [1] * 4}, "items must hold 1 to 3 entries, not 4."),
            ({}, "items must be a list of objects."),
            ({"items": [{}], "model": "x"}, "unknown field 'model'; known fields are items, mode."),
        ],
    )
    def test_a_batch_that_can_never_be_taken_is_refused(self, body: Any, message: str) -> None:
        async def work() -> None:
            async with serving(ScriptedBackend([]), max_waiting=3) as client:
                status, answer = await client.ask("POST", "/v1/critique/batch", json=body)
            assert (status, answer) == (400, {"error": {"reason": "bad_request", "message": message}})

        run(work())

    def test_a_bug_ends_the_whole_batch_with_500_and_stops_its_other_items(
        self, reply_text: Text, png: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Broken(Held):
            async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
                if "the bug" in messages[-1].text:
                    raise ZeroDivisionError
                return await super().reply(messages, sampling)

        async def work() -> None:
            backend = Broken(reply_text())
            async with serving(backend) as client:
                status, answer = await client.batch(
                    [{"request": "fine", "image": png}, {"request": "the bug", "image": png}]
                )
                assert (status, answer["error"]["reason"]) == (500, "internal")
                assert backend.running == 0
                metrics = await client.metrics()
                assert (metrics["waiting"], metrics["rejected"]) == (0, {"500": 1})

        run(work())
        assert "ZeroDivisionError" in caplog.text


def test_what_a_failure_says_of_the_servers_own_machine_stays_in_its_log(png: str, caplog: Any) -> None:
    secret = "/srv/models/judge is not whole: it lacks lm_head.weight"

    def broken(*_: Any) -> str:
        raise BackendError(secret, reason="load_failed")

    async def work() -> None:
        async with serving(ScriptedBackend(broken)) as client:
            one = await client.critique(request="a", image=png)
            many = await client.batch([{"request": "a", "image": png}])
        for status, answer in (one, many):
            assert status == 200
            outcome = answer["items"][0] if "items" in answer else answer
            assert outcome["unscored"] == {
                "reason": "load_failed",
                "message": "The server's judge could not be loaded; the server's log says why.",
            }
            assert "/srv" not in str(answer)

    run(work())
    assert secret in caplog.text


def test_an_interruption_is_not_an_outcome(png: str) -> None:
    class Stopped(RationalRewardsError):
        reason = "interrupted"

    async def work() -> None:
        async with serving(ScriptedBackend([Stopped("stop")])) as client:
            status, answer = await client.critique(request="a", image=png)
            assert (status, answer["error"]["reason"]) == (500, "interrupted")
            assert (await client.metrics())["items"] == 0

    run(work())
