"""The server backend over real HTTP: every fault a typed outcome, retries only where they help, no key in sight."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import socket
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

import pytest
from PIL import Image

from rationalrewards_core.backends import server_calls
from rationalrewards_core.backends.base import Finish, Reply, Sampling
from rationalrewards_core.backends.openai_chat import OpenAIChat
from rationalrewards_core.critique import Critique, Unscored
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.judged import Case
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings
from rationalrewards_core.servers import ServerConfig
from tests.core.chat_calls import QUESTION, Waits, closing, failure, once
from tests.core.fault_server import (
    Answer,
    Ask,
    FaultServer,
    completion,
    fault,
    half_body,
    hang,
    raw,
    reset,
    serving,
    slowly,
)

Text = Callable[..., str]
KEY = "sk-Live/5ecret+Key=="
NO_TEXT = {"message": {"role": "assistant"}, "finish_reason": "stop"}
BAD_ANSWERS = ["{}", '{"choices": []}', '{"choices": null}', '{"choices": ["a"]}', '{"choices": [{"message": "a"}]}']
FAULTS: list[tuple[str, Answer, str, int | None, int]] = [
    ("500", fault(500), "server_error", 500, 3),
    ("503 of a proxy", raw("<html>Bad gateway</html>", 503), "server_error", 503, 3),
    ("429", fault(429), "rate_limited", 429, 3),
    ("hang", hang(), "timeout", None, 3),
    ("reset", reset(), "connection", None, 3),
    ("half a body", half_body(), "connection", None, 3),
    ("HTML", raw("<html>Welcome</html>"), "bad_reply", 200, 3),
    ("half of JSON", raw('{"choices": [{"mess'), "bad_reply", 200, 3),
    ("a JSON list", raw("[1]"), "bad_reply", 200, 3),
    ("a tower of JSON", raw("[" * 100_000), "bad_reply", 200, 3),
    ("an unheard-of charset", raw("no", 200, {"Content-Type": "text/plain; charset=hex"}), "bad_reply", 200, 3),
    ("401", fault(401), "unauthorized", 401, 1),
    ("403", fault(403), "unauthorized", 403, 1),
    ("wrong model", fault(404, "The model does not exist."), "model_not_found", 404, 1),
    ("400", fault(400), "client_error", 400, 1),
    ("422 in FastAPI's form", raw('{"detail": [{"msg": "bad"}]}', 422), "client_error", 422, 1),
    ("redirect", raw("", 307, {"Location": "/elsewhere"}), "redirected", 307, 1),
    *[(f"200 {body}", raw(body), "bad_reply", 200, 1) for body in BAD_ANSWERS],
    ("an error beside a text", completion("# Detailed", error={"message": "out of memory"}), "bad_reply", 200, 1),
    ("an error in the choice", completion("# Detailed", choice={"error": {"code": 502}}), "bad_reply", 200, 1),
    ("no content", completion(None), "bad_reply", 200, 1),
    ("a number for content", completion(3), "bad_reply", 200, 1),
    ("refusal", completion(None, message={"refusal": "I will not."}), "refused", 200, 1),
]


@pytest.mark.parametrize(
    ("answer", "reason", "status", "attempts"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS]
)
def test_every_fault_is_typed(
    answer: Answer, reason: str, status: int | None, attempts: int, reply_text: Text, picture: Image.Image
) -> None:
    """Asked directly it is a BackendError; in a batch it is Unscored, and its neighbour is judged."""
    good = completion(reply_text(2.0))
    with serving(lambda ask: good if "neighbour" in ask.text else answer) as server:
        config = server.config(timeout_seconds=0.4 if reason == "timeout" else 20.0)
        error = failure(config)
        assert (error.reason, error.status) == (reason, status)
        assert str(error).startswith(f"Server 'judge' ({config.url})")
        assert len(server.asks) == attempts

        scorer = Scorer(OpenAIChat(config, sleep=Waits()), settings=ScorerSettings(ask_again=0))
        cases = [Case(UserRequest(text), picture) for text in ("broken", "neighbour")]
        batch = asyncio.run(closing(scorer, scorer.score_many(cases)))
    broken, fine = batch.outcomes
    assert isinstance(broken, Unscored)
    assert broken.reason == reason
    assert isinstance(fine, Critique)
    assert fine.scores["text_faithfulness"] == 2.0


WHOLE = (
    (Path(__file__).parents[1] / "replies" / "canonical_generation.md")
    .read_text(encoding="utf-8")
    .partition("---\n")[2]
)


@pytest.mark.parametrize(
    ("answer", "finish", "reason"),
    [
        (completion("# Detailed Judg", "length", usage={"completion_tokens": 2048}), Finish.LENGTH, "truncated"),
        (completion("# Detailed Judg", "length", usage=None), Finish.LENGTH, "truncated"),
        (completion("# Detailed Judg", "length", usage={"completion_tokens": 275}), Finish.CONTEXT, "truncated"),
        (completion(None, "length"), Finish.CONTEXT, "truncated"),
        (completion("", "stop"), Finish.STOP, "empty_reply"),
        (completion(None, "content_filter"), Finish.OTHER, "empty_reply"),
        (completion(WHOLE, "content_filter"), Finish.OTHER, "truncated"),
        (completion(WHOLE, "error"), Finish.OTHER, "truncated"),
        (completion(WHOLE, "abort"), Finish.OTHER, "truncated"),
        (completion(WHOLE, "stop", usage={"completion_tokens": 2048}), Finish.LENGTH, "truncated"),
        (completion("I cannot judge people.", "stop"), Finish.STOP, "no_judgement"),
    ],
)
def test_replies_that_are_no_critique(answer: Answer, finish: Finish, reason: str, picture: Image.Image) -> None:
    with serving(lambda ask: answer) as server:
        assert asyncio.run(once(server.config())).finish is finish
        scorer = Scorer(OpenAIChat(server.config()), settings=ScorerSettings(ask_again=0))
        batch = asyncio.run(closing(scorer, scorer.score_many([Case(UserRequest("a"), picture)])))
    assert batch.reasons == {reason: 1}


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    waits = Waits()
    error = failure(ServerConfig(name="judge", url=f"http://127.0.0.1:{port}/v1", model="m", retries=1), waits)
    assert (error.reason, len(waits)) == ("connection", 1)
    assert "is it running?" in str(error)


def test_a_flood_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_calls, "LARGEST_ANSWER", 1000)
    with serving(lambda ask: completion("a" * 2000)) as server:
        assert failure(server.config()).reason == "bad_reply"


class TestRetries:
    def test_succeeds_once_the_server_does(self) -> None:
        waits = Waits()
        answers = [fault(503), reset(), completion("fine")]
        with serving(lambda ask: answers[ask.number]) as server:
            reply = asyncio.run(once(server.config(), waits=waits))
        assert reply.text == "fine"
        assert len(waits) == 2

    def test_waits_grow(self) -> None:
        waits = Waits()
        with serving(lambda ask: fault(500)) as server:
            failure(server.config(retries=8), waits)
        assert len(waits) == 8
        for attempt, wait in enumerate(waits):
            assert min(30.0, 0.25 * 2**attempt) <= wait <= min(30.0, 0.75 * 2**attempt)

    @pytest.mark.parametrize(
        ("asked", "least", "most"),
        [
            ("7", 7.0, 7.0),
            ("0", 0.25, 0.75),
            (lambda: formatdate(time.time() + 20, usegmt=True), 15.0, 20.0),
            (lambda: formatdate(time.time() - 500, usegmt=True), 0.25, 0.75),
            ("86400", 30.0, 30.0),
            ("soon", 0.25, 0.75),
            ("nan", 0.25, 0.75),
            ("Wed, 21 Oct 99999 07:28:00 GMT", 0.25, 0.75),
        ],
    )
    @pytest.mark.parametrize("status", [429, 503])
    def test_retry_after_is_honoured(
        self, asked: str | Callable[[], str], least: float, most: float, status: int
    ) -> None:
        waits = Waits()
        answers = [fault(status, Retry_After=asked if isinstance(asked, str) else asked()), completion("fine")]
        with serving(lambda ask: answers[ask.number]) as server:
            asyncio.run(once(server.config(), waits=waits))
        assert len(waits) == 1
        assert least <= waits[0] <= most

    def test_none_means_none(self) -> None:
        waits = Waits()
        with serving(lambda ask: fault(500)) as server:
            failure(server.config(retries=0), waits)
            assert len(server.asks) == 1
        assert waits == []


def test_a_batch_with_faults_loses_nothing(reply_text: Text) -> None:
    """500 cases, one in five with a fault of its own: some pass on a second try, the others are named, in order."""
    rng = random.Random(20)
    kinds = ["503", "reset", "half", "html", "401", "400", "refusal", "truncated", "nonsense"]
    planned = [rng.choice(kinds) if rng.random() < 0.2 else "fine" for _ in range(500)]
    passing = {"503", "reset", "half", "html"}
    reasons = {"401": "unauthorized", "400": "client_error", "refusal": "refused", "nonsense": "no_judgement"}
    tries: Counter[int] = Counter()

    def script(ask: Ask) -> Answer:
        number = int(ask.text.split("case ")[1].split("!")[0])
        kind, tries[number] = planned[number], tries[number] + 1
        if kind == "fine" or (kind in passing and tries[number] > 1):
            return slowly(completion(reply_text(1.0 + number % 31 / 10)), 0.01)
        return {
            "503": fault(503), "reset": reset(), "half": half_body(), "html": raw("<html>"), "401": fault(401),
            "400": fault(400, "The prompt is too long."), "refusal": completion(None, message={"refusal": "No."}),
            "truncated": completion(reply_text(), "length"), "nonsense": completion("Nice."),
        }[kind]  # fmt: skip

    dot = Image.new("RGB", (4, 4))
    with serving(script) as server:
        scorer = Scorer(OpenAIChat(server.config(concurrency=6), sleep=Waits()), settings=ScorerSettings(ask_again=0))
        cases = [Case(UserRequest(f"case {number}!"), dot) for number in range(500)]
        batch = asyncio.run(closing(scorer, scorer.score_many(cases)))
        assert len(batch.outcomes) == 500
        for number, (kind, outcome) in enumerate(zip(planned, batch.outcomes, strict=True)):
            if kind == "fine" or kind in passing:
                assert isinstance(outcome, Critique), (number, kind, outcome)
                assert outcome.scores["text_faithfulness"] == 1.0 + number % 31 / 10
            else:
                assert isinstance(outcome, Unscored)
                assert outcome.reason == reasons.get(kind, kind)
        assert sum(batch.reasons.values()) > 40
        assert len(server.asks) == 500 + sum(kind in passing for kind in planned)
        assert server.most_at_once == 6


def test_the_bound_holds_for_direct_callers_and_one_session_serves_all() -> None:
    async def work(server: FaultServer) -> None:
        backend = OpenAIChat(server.config(concurrency=3))
        await asyncio.gather(*(backend.reply(QUESTION, Sampling()) for _ in range(30)))
        await backend.close()

    with serving(lambda ask: slowly(completion("fine"), 0.01)) as server:
        asyncio.run(work(server))
        assert server.most_at_once == 3
        assert len({ask.peer for ask in server.asks}) == 3, "connections are kept and used again"


@pytest.mark.parametrize("closed", [True, False])
def test_two_event_loops_one_after_the_other(closed: bool) -> None:
    """`asyncio.run` twice; also when the first left its session open, and without a word of complaint."""
    with serving(lambda ask: completion("fine")) as server, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        backend = OpenAIChat(server.config(concurrency=2))

        async def work(last: bool) -> list[Reply]:
            replies = await asyncio.gather(*(backend.reply(QUESTION, Sampling()) for _ in range(5)))
            if closed or last:
                await backend.close()
            return list(replies)

        for last in (False, True):
            assert [reply.text for reply in asyncio.run(work(last))] == ["fine"] * 5
        gc.collect()
    assert not [str(w.message) for w in caught if "Unclosed client" in str(w.message)]


def test_closing_in_a_later_loop() -> None:
    with serving(lambda ask: completion("fine")) as server:
        backend = OpenAIChat(server.config())
        asyncio.run(backend.reply(QUESTION, Sampling()))
        session = backend._session
        asyncio.run(backend.close())
        assert session is not None
        assert session.calls.session.closed


class TestKeys:
    ECHOES: tuple[Answer, ...] = (
        fault(401, f"Incorrect API key provided: {KEY}"),
        fault(400, "x" * 290 + KEY),
        fault(500, f"header 'Authorization: Bearer {KEY}'"),
        raw(f"Traceback: headers={{'Authorization': 'Bearer {KEY}'}}", 502),
        raw(f'{{"error": "key {KEY.replace("/", chr(92) + "/")} unknown"}}', 200),
        completion(None, message={"refusal": f"I saw {KEY}"}),
        raw(KEY, 307, {"Location": f"http://example.invalid/{KEY}"}),
        raw(KEY),
    )

    @pytest.mark.parametrize("answer", ECHOES, ids=range(len(ECHOES)))
    def test_no_error_shows_it(self, answer: Answer, caplog: pytest.LogCaptureFixture, picture: Image.Image) -> None:
        caplog.set_level(logging.DEBUG)
        with serving(lambda ask: answer) as server:
            config = server.config(api_key=KEY, retries=1)
            backend = OpenAIChat(config, sleep=Waits())
            scorer = Scorer(backend)
            batch = asyncio.run(closing(scorer, scorer.score_many([Case(UserRequest("a"), picture)])))
            error = failure(config)
            assert {ask.authorization for ask in server.asks} == {f"Bearer {KEY}"}
        told = "".join(traceback.format_exception(error))
        for words in (told, repr(error), caplog.text, repr(config), repr(backend), repr(scorer), repr(batch)):
            assert KEY not in words
            assert KEY[:6] not in words, "not half of it either"
        assert backend.identity.find(KEY) < 0

    def test_no_reply_shows_it(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        tokens = {"content": [{"token": KEY, "logprob": -0.1, "top_logprobs": []}]}
        answer = completion(f"Your key is {KEY}.", model=f"judge {KEY}", choice={"logprobs": tokens})
        with serving(lambda ask: answer) as server:
            reply = asyncio.run(once(server.config(api_key=KEY)))
        assert reply.text == "Your key is [key]."
        assert KEY not in repr(reply) + repr(reply.tokens) + caplog.text

    def test_a_placeholder_key_takes_nothing_from_a_reply(self) -> None:
        with serving(lambda ask: completion("Score: 1. EMPTY", model="1")) as server:
            assert asyncio.run(once(server.config(api_key="EMPTY"))).text == "Score: 1. EMPTY"
            assert asyncio.run(once(server.config(api_key="1"))).text == "Score: 1. EMPTY"

    def test_a_short_key_is_hidden_in_errors(self) -> None:
        with serving(lambda ask: fault(400, "key 'abc' is not abcdef")) as server:
            assert str(failure(server.config(api_key="abc"))).endswith("key '[key]' is not abcdef")

    def test_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with serving(lambda ask: completion("fine")) as server:
            config = server.config(api_key_env="RR_TEST_KEY")
            monkeypatch.delenv("RR_TEST_KEY", raising=False)
            with pytest.raises(ConfigError, match="RR_TEST_KEY"):
                asyncio.run(once(config))
            monkeypatch.setenv("RR_TEST_KEY", KEY + "\n")
            asyncio.run(once(config))
            asyncio.run(once(server.config()))
            assert [ask.authorization for ask in server.asks] == [f"Bearer {KEY}", ""]

    def test_it_does_not_follow_a_redirect(self) -> None:
        with serving(lambda ask: completion("caught")) as other:
            away = raw("", 307, {"Location": f"http://127.0.0.1:{other.port}/v1/chat/completions"})
            with serving(lambda ask: away) as server:
                assert failure(server.config(api_key=KEY)).reason == "redirected"
            assert other.asks == []
