"""The scorer: failures typed and counted, order kept, memo, modes, both orders of a pair."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from PIL import Image

from rationalrewards_core.backends.base import Finish, Reply, Sampling, TokenChoice
from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.comparison import Verdict
from rationalrewards_core.critique import Critique, Unscored
from rationalrewards_core.errors import BackendError, ConfigError, CritiqueParseError, Interrupted, RequestError
from rationalrewards_core.judged import Case, FailureRateError
from rationalrewards_core.memo import Memo
from rationalrewards_core.messages import Message, UserRequest
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings

Text = Callable[..., str]
ONCE = ScorerSettings(ask_again=0)


def cases(count: int, picture: Image.Image) -> list[Case]:
    return [Case(UserRequest(f"request {number}"), picture) for number in range(count)]


def number_of(messages: Sequence[Message]) -> int:
    return int(messages[-1].text.split("request ")[1].split("\n")[0])


def test_one_bad_case_never_harms_the_others(reply_text: Text, picture: Image.Image) -> None:
    def answer(messages: Sequence[Message], sampling: Sampling) -> str | Reply | BackendError:
        number = number_of(messages)
        if number == 1:
            return BackendError("no answer in time", reason="timeout")
        if number == 2:
            return "I cannot help with that."
        if number == 3:
            return Reply(text=reply_text(), finish=Finish.LENGTH, model="m")
        return reply_text(1.0 + number / 10)

    scorer = Scorer(ScriptedBackend(answer), settings=ONCE)
    seen: dict[int, object] = {}
    batch = asyncio.run(scorer.score_many(cases(6, picture), on_outcome=seen.__setitem__))
    kinds = [o.reason if isinstance(o, Unscored) else o.scores["text_faithfulness"] for o in batch.outcomes]
    assert kinds == [1.0, "timeout", "no_judgement", "truncated", 1.4, 1.5]
    assert batch.reasons == {"timeout": 1, "no_judgement": 1, "truncated": 1}
    assert batch.failure_rate == 0.5
    assert [seen[i] for i in range(6)] == list(batch.outcomes)


def test_too_large_a_request_is_its_own_failure(reply_text: Text, picture: Image.Image) -> None:
    def answer(messages: Sequence[Message], sampling: Sampling) -> str | RequestError:
        return RequestError("The prompt has too many tokens.") if number_of(messages) == 0 else reply_text()

    batch = asyncio.run(Scorer(ScriptedBackend(answer), settings=ONCE).score_many(cases(2, picture)))
    assert batch.reasons == {"bad_request": 1}


def test_bugs_and_interruptions_are_not_outcomes(picture: Image.Image) -> None:
    def interrupt(messages: Sequence[Message], sampling: Sampling) -> Interrupted:
        return Interrupted("stopped")

    def bug(messages: Sequence[Message], sampling: Sampling) -> str:
        raise ZeroDivisionError

    with pytest.raises(Interrupted):
        asyncio.run(Scorer(ScriptedBackend(interrupt)).score_many(cases(3, picture)))
    with pytest.raises(ZeroDivisionError):
        asyncio.run(Scorer(ScriptedBackend(bug)).score_many(cases(3, picture)))


def test_stops_above_the_failure_rate_and_keeps_what_is_known(reply_text: Text, picture: Image.Image) -> None:
    def answer(messages: Sequence[Message], sampling: Sampling) -> str:
        return reply_text() if number_of(messages) % 2 else "nonsense"

    scorer = Scorer(ScriptedBackend(answer, concurrency=1), settings=ScorerSettings(ask_again=0, max_failure_rate=0.3))
    with pytest.raises(FailureRateError, match="no_judgement") as caught:
        asyncio.run(scorer.score_many(cases(100, picture)))
    known = [o for o in caught.value.outcomes if o is not None]
    assert 20 <= len(known) < 30
    assert sum(isinstance(o, Critique) for o in known) == len(known) // 2


def test_single_calls_raise(picture: Image.Image) -> None:
    scorer = Scorer(ScriptedBackend(["nonsense", "nonsense"]), settings=ONCE)
    with pytest.raises(CritiqueParseError) as caught:
        asyncio.run(scorer.critique(UserRequest("a"), picture))
    assert caught.value.raw == "nonsense"


def test_an_unreadable_reply_is_asked_for_again(reply_text: Text, picture: Image.Image) -> None:
    backend = ScriptedBackend(["nonsense", reply_text(2.0)])
    scorer = Scorer(backend, settings=ScorerSettings(ask_again=1))
    critique = asyncio.run(scorer.critique(UserRequest("a"), picture))
    assert critique.scores["text_faithfulness"] == 2.0
    assert [sampling.temperature for _, sampling in backend.calls] == [0.0, 0.5]
    assert scorer.failures == {"no_judgement": 1}, "the failed try is counted, though the case was scored"


def test_concurrency_follows_the_backend(reply_text: Text, picture: Image.Image) -> None:
    running, most = 0, 0

    class Counting(ScriptedBackend):
        async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.001)
            running -= 1
            return await super().reply(messages, sampling)

    backend = Counting(lambda *_: reply_text(), concurrency=5)
    asyncio.run(Scorer(backend).score_many(cases(40, picture)))
    assert most == 5


def test_score_mode_stops_before_the_summary(reply_text: Text, picture: Image.Image) -> None:
    backend = ScriptedBackend([reply_text(2.0, 3.0)])
    critique = asyncio.run(Scorer(backend).score(UserRequest("a"), picture))
    assert "# Summary" not in critique.raw
    assert critique.refinement is None
    assert critique.scores == {"text_faithfulness": 2.0, "physical_quality": 3.0, "text_rendering": None}
    assert backend.calls[0][1].stop == ("\n# Summary",)


class TestMemo:
    def test_the_same_question_is_asked_once(self, reply_text: Text, picture: Image.Image) -> None:
        backend = ScriptedBackend([reply_text()])
        scorer = Scorer(backend)
        first = asyncio.run(scorer.critique(UserRequest("a"), picture))
        again = asyncio.run(scorer.critique(UserRequest("a"), picture.copy()))
        assert again == first
        assert len(backend.calls) == 1
        assert (scorer.memo.hits, scorer.memo.misses) == (1, 1)

    def test_anything_that_changes_the_answer_changes_the_key(self, reply_text: Text, picture: Image.Image) -> None:
        backend = ScriptedBackend(lambda *_: reply_text())
        scorer = Scorer(backend, settings=ONCE)
        other = picture.copy()
        other.putpixel((0, 0), (1, 2, 3))
        weights = {"generation": scorer.rubrics["generation"]}

        async def work() -> None:
            await scorer.critique(UserRequest("a"), picture)
            await scorer.critique(UserRequest("b"), picture)
            await scorer.critique(UserRequest("a"), other)
            await scorer.score_many([Case(UserRequest("a", (picture,)), picture)])
            await scorer.score(UserRequest("a"), picture)
            await Scorer(backend, weights, ScorerSettings(max_tokens=99), scorer.memo).critique(
                UserRequest("a"), picture
            )

        asyncio.run(work())
        assert len(backend.calls) == 5, "the score is the beginning of a critique that is known"

    def test_failures_are_not_kept(self, reply_text: Text, picture: Image.Image) -> None:
        scorer = Scorer(ScriptedBackend(["nonsense", reply_text()]), settings=ONCE)
        first = asyncio.run(scorer.score_many([Case(UserRequest("a"), picture)]))
        second = asyncio.run(scorer.score_many([Case(UserRequest("a"), picture)]))
        assert first.failure_rate == 1.0
        assert second.failure_rate == 0.0

    def test_free_sampling_is_never_memoised(self, reply_text: Text, picture: Image.Image) -> None:
        backend = ScriptedBackend([reply_text(2.0), reply_text(3.0)])
        scorer = Scorer(backend, settings=ScorerSettings(temperature=0.7))
        asyncio.run(scorer.critique(UserRequest("a"), picture))
        asyncio.run(scorer.critique(UserRequest("a"), picture))
        assert len(backend.calls) == 2

    def test_survives_the_process_and_a_torn_line(self, reply_text: Text, picture: Image.Image, tmp_path) -> None:  # type: ignore[no-untyped-def]
        path = tmp_path / "memo.jsonl"
        first = asyncio.run(
            Scorer(ScriptedBackend([reply_text()]), memo=Memo(path=path)).critique(UserRequest("a"), picture)
        )
        with path.open("a") as file:
            file.write('{"key": "half')
        silent = Scorer(ScriptedBackend([]), memo=Memo(path=path))
        assert asyncio.run(silent.critique(UserRequest("a"), picture)) == first

    def test_the_oldest_leave_first(self, reply_text: Text, picture: Image.Image) -> None:
        backend = ScriptedBackend(lambda *_: reply_text())
        scorer = Scorer(backend, memo=Memo(limit=2))
        for text in ("a", "b", "a", "c", "a"):
            asyncio.run(scorer.critique(UserRequest(text), picture))
        assert len(backend.calls) == 3, "a was used again, so b left for c"


def pair_reply(a: float, b: float) -> str:
    blocks = [
        f"{n}. {title}:\n## Justification: compared\n## Score A: {a}\n## Score B: {b}\n## Winner: Image {'A' if a > b else 'B'}"
        for n, title in enumerate(("Text Faithfulness", "Physical and Visual Quality"), 1)
    ]
    last = "3. Text Rendering:\n## Justification: none\n## Score A: N/A\n## Score B: N/A\n## Winner: N/A"
    return "\n".join(["# Detailed Judgement", *blocks, last, "# Summary: done"])


class TestCompare:
    def compare(self, script: list[object], picture: Image.Image, method: str) -> object:
        scorer = Scorer(ScriptedBackend(script), settings=ONCE)  # type: ignore[arg-type]
        other = Image.new("RGB", (8, 8))
        return asyncio.run(scorer.compare(UserRequest("a"), picture, other, method))  # type: ignore[arg-type]

    def test_pointwise(self, reply_text: Text, picture: Image.Image) -> None:
        found = self.compare([reply_text(2.0), reply_text(3.0)], picture, "pointwise")
        assert found.verdict is Verdict.B  # type: ignore[attr-defined]
        assert found.orders_agree is None  # type: ignore[attr-defined]

    def test_both_orders_agree(self, picture: Image.Image) -> None:
        found = self.compare([pair_reply(3.5, 2.0), pair_reply(2.0, 3.0)], picture, "pairwise")
        assert found.verdict is Verdict.A  # type: ignore[attr-defined]
        assert found.orders_agree is True  # type: ignore[attr-defined]
        assert found.judgements[0].score_a == 3.25  # type: ignore[attr-defined]

    def test_a_judge_that_likes_the_first_place_makes_a_tie(self, picture: Image.Image) -> None:
        found = self.compare([pair_reply(3.5, 2.0), pair_reply(3.5, 2.0)], picture, "pairwise")
        assert found.verdict is Verdict.TIE  # type: ignore[attr-defined]
        assert found.orders_agree is False  # type: ignore[attr-defined]


class Slow(ScriptedBackend):
    """Answers when it is let go, and knows who still waits for it."""

    def __init__(self, script: object) -> None:
        super().__init__(script)  # type: ignore[arg-type]
        self.open = asyncio.Event()
        self.cancelled = 0

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        reply = await super().reply(messages, sampling)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return reply


async def until_asked(backend: Slow, times: int = 1) -> None:
    while len(backend.calls) < times:
        await asyncio.sleep(0)


class TestScoreFromACritique:
    def test_a_known_critique_answers_a_score(self, reply_text: Text, picture: Image.Image) -> None:
        backend = ScriptedBackend([reply_text(2.0, 3.0)])
        scorer = Scorer(backend)
        full = asyncio.run(scorer.critique(UserRequest("a"), picture))
        short = asyncio.run(scorer.score(UserRequest("a"), picture.copy()))
        assert (len(backend.calls), scorer.memo.hits) == (1, 1)
        assert full.raw.startswith(short.raw)
        assert "# Summary" not in short.raw
        assert (short.judgements, short.summary, short.refinement) == (full.judgements, "", None)

    def test_a_score_never_answers_a_critique(self, reply_text: Text, picture: Image.Image) -> None:
        backend = ScriptedBackend([reply_text(2.0), reply_text(2.0)])
        scorer = Scorer(backend)
        asyncio.run(scorer.score(UserRequest("a"), picture))
        assert asyncio.run(scorer.critique(UserRequest("a"), picture)).refinement is not None
        assert len(backend.calls) == 2

    def test_a_critique_being_written_answers_a_score(self, reply_text: Text, picture: Image.Image) -> None:
        async def work() -> None:
            backend = Slow([reply_text(2.0)])
            scorer, other = Scorer(backend), Scorer(backend)
            other.memo = scorer.memo
            full = asyncio.ensure_future(scorer.critique(UserRequest("a"), picture))
            await until_asked(backend)
            short = asyncio.ensure_future(other.score(UserRequest("a"), picture))
            await asyncio.sleep(0.01)
            backend.open.set()
            assert (await full).raw.startswith((await short).raw)
            assert len(backend.calls) == 1

        asyncio.run(work())

    def test_a_critique_that_fails_leaves_the_score_its_own_chance(
        self, reply_text: Text, picture: Image.Image
    ) -> None:
        async def work() -> None:
            backend = Slow(["nonsense", reply_text(2.0)])
            scorer = Scorer(backend, settings=ONCE)
            full = asyncio.ensure_future(scorer.critique(UserRequest("a"), picture))
            await until_asked(backend)
            short = asyncio.ensure_future(scorer.score(UserRequest("a"), picture))
            await asyncio.sleep(0.01)
            backend.open.set()
            with pytest.raises(CritiqueParseError):
                await full
            assert (await short).scores["text_faithfulness"] == 2.0

        asyncio.run(work())


class TestSharedCalls:
    def test_the_same_case_twice_in_one_batch_is_asked_once(self, reply_text: Text, picture: Image.Image) -> None:
        backend = ScriptedBackend([reply_text(2.0)], concurrency=4)
        batch = asyncio.run(Scorer(backend).score_many([Case(UserRequest("a"), picture)] * 4))
        assert len(batch.critiques) == 4
        assert len(backend.calls) == 1

    def test_a_caller_that_leaves_takes_nothing_from_the_others(self, reply_text: Text, picture: Image.Image) -> None:
        async def work() -> None:
            backend = Slow([reply_text(2.0)])
            scorer = Scorer(backend)
            first, second = (asyncio.ensure_future(scorer.critique(UserRequest("a"), picture)) for _ in range(2))
            await until_asked(backend)
            first.cancel()
            await asyncio.sleep(0.01)
            backend.open.set()
            assert (await second).scores["text_faithfulness"] == 2.0
            assert first.cancelled()
            assert backend.cancelled == 0

        asyncio.run(work())

    def test_a_call_nobody_waits_for_ends_and_the_next_caller_asks_anew(
        self, reply_text: Text, picture: Image.Image
    ) -> None:
        async def work() -> None:
            backend = Slow(lambda *_: reply_text(2.0))
            scorer = Scorer(backend)
            callers = [asyncio.ensure_future(scorer.critique(UserRequest("a"), picture)) for _ in range(2)]
            await until_asked(backend)
            for caller in callers:
                caller.cancel()
            await asyncio.gather(*callers, return_exceptions=True)
            assert backend.cancelled == 1
            backend.open.set()
            await scorer.critique(UserRequest("a"), picture)
            assert len(backend.calls) == 2

        asyncio.run(work())

    def test_every_caller_gets_the_error(self, picture: Image.Image) -> None:
        async def work() -> None:
            backend = ScriptedBackend([BackendError("no answer", reason="timeout")])
            asked = [Scorer(backend, memo=memo).critique(UserRequest("a"), picture) for _ in range(3)]
            outcomes = await asyncio.gather(*asked, return_exceptions=True)
            assert [getattr(outcome, "reason", None) for outcome in outcomes] == ["timeout"] * 3

        memo = Memo()
        asyncio.run(work())

    def test_event_loops_do_not_wait_for_each_other(self, reply_text: Text, picture: Image.Image) -> None:
        backend = ScriptedBackend(lambda *_: reply_text(2.0))
        memo = Memo(limit=0)

        async def nested() -> None:
            scorer = Scorer(backend, memo=memo)
            await asyncio.to_thread(lambda: asyncio.run(scorer.critique(UserRequest("a"), picture)))

        async def work() -> None:
            await asyncio.gather(nested(), Scorer(backend, memo=memo).critique(UserRequest("a"), picture), nested())

        asyncio.run(work())
        assert len(backend.calls) == 3


class TestSampledCritiques:
    """`spread` over critiques that are sampled beside the one that is shown."""

    def judged(self, answer: Callable[[Sampling], str | BackendError], picture: Image.Image, **settings: Any) -> Any:
        backend = ScriptedBackend(lambda _, sampling: answer(sampling))
        scorer = Scorer(backend, settings=ScorerSettings(**{"samples": 3, **settings}))
        return scorer, backend, asyncio.run(scorer.critique(UserRequest("a cat"), picture))

    def test_words_and_scores_are_the_greedy_ones(self, reply_text: Text, picture: Image.Image) -> None:
        def answer(sampling: Sampling) -> str:
            return reply_text(3.0) if sampling.seed is None else reply_text(float(sampling.seed), 4.0, text=2.0)

        _, backend, critique = self.judged(answer, picture, samples_temperature=0.7)
        first, second, third = critique.judgements
        assert (first.score, first.spread, first.samples) == (3.0, pytest.approx(1.0), 3)
        assert (second.score, second.spread, second.samples) == (3.5, 0.0, 3)
        assert (third.score, third.spread, third.samples) == (None, None, 0), "what does not apply has no spread"
        assert critique.refinement is not None
        sampled = [sampling for _, sampling in backend.calls[1:]]
        assert [(s.temperature, s.seed, s.stop) for s in sampled] == [(0.7, n, ("\n# Summary",)) for n in (1, 2, 3)]

    def test_one_that_fails_is_counted_and_no_number(self, reply_text: Text, picture: Image.Image) -> None:
        def answer(sampling: Sampling) -> str | BackendError:
            if sampling.seed == 1:
                return "I cannot help."
            return BackendError("no answer in time", reason="timeout") if sampling.seed == 2 else reply_text(3.0)

        scorer, backend, critique = self.judged(answer, picture)
        assert (critique.judgements[0].spread, critique.judgements[0].samples) == (None, 1)
        assert scorer.failures == {"no_judgement": 1, "timeout": 1}
        assert len(backend.calls) == 4, "a sampled critique is not asked for again"

    def test_their_mean_is_what_is_expected(self, reply_text: Text, picture: Image.Image) -> None:
        """Scores 2, 3 and 4 by seed beside a greedy 4: the reward of the expected scores is that of the samples."""
        backend = ScriptedBackend(lambda _, sampling: reply_text(1.0 + (sampling.seed or 3), 4.0))
        scorer, request = Scorer(backend, settings=ScorerSettings(samples=3)), UserRequest("a cat")
        critique = asyncio.run(scorer.critique(request, picture))
        faithfulness = critique.judgements[0]
        assert (faithfulness.score, faithfulness.expected, faithfulness.samples) == (4.0, 3.0, 3)
        assert scorer.reward(critique, request) == 1.0
        assert scorer.reward(critique, request, expected=True) == pytest.approx((2 / 3 + 1) / 2)

    def test_they_replace_what_token_probabilities_say(self, reply_text: Text, picture: Image.Image) -> None:
        text = reply_text(3.0)
        certain = Reply(
            text=text, finish=Finish.STOP, model="m", tokens=tuple(TokenChoice(c, ((c, 1.0),)) for c in text)
        )
        backend = ScriptedBackend(lambda _, sampling: certain if sampling.seed is None else "nonsense")
        scorer = Scorer(backend, settings=ScorerSettings(samples=2))
        sampled = asyncio.run(scorer.score(UserRequest("a cat"), picture)).judgements[0]
        assert (sampled.expected, sampled.spread, sampled.samples) == (3.0, None, 0)
        own = asyncio.run(Scorer(backend).score(UserRequest("a cat"), picture)).judgements[0]
        assert (own.expected, own.spread, own.samples) == (3.0, 0.0, 0)

    def test_more_samples_pay_only_for_what_is_new(self, reply_text: Text, picture: Image.Image) -> None:
        backend, memo = ScriptedBackend(lambda _, sampling: reply_text(float(sampling.seed or 3))), Memo()
        spreads = []
        for samples, calls in ((0, 1), (2, 3), (4, 5), (2, 5)):
            scorer = Scorer(backend, settings=ScorerSettings(samples=samples), memo=memo)
            spreads.append(asyncio.run(scorer.critique(UserRequest("a cat"), picture)).judgements[0].spread)
            assert len(backend.calls) == calls
        assert spreads == [None, pytest.approx(0.5**0.5), pytest.approx((5 / 3) ** 0.5), pytest.approx(0.5**0.5)]

    def test_a_comparison_samples_none(self, reply_text: Text, picture: Image.Image) -> None:
        backend = ScriptedBackend(lambda *_: reply_text())
        scorer = Scorer(backend, settings=ScorerSettings(samples=5))
        asyncio.run(scorer.compare(UserRequest("a cat"), picture, Image.new("RGB", (8, 8))))
        assert len(backend.calls) == 2

    @pytest.mark.parametrize(
        "settings", [{"samples": 1}, {"samples": -1}, {"samples": 101}, {"samples_temperature": 0.0}]
    )
    def test_settings_without_a_spread_are_refused(self, settings: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match="samples"):
            ScorerSettings(**settings)


def test_a_path_in_a_pictures_place_is_judged_by_nobody(reply_text: Text, picture: Image.Image) -> None:
    path: Any = "picture.png"
    paths = [Case(UserRequest("a"), path), Case(UserRequest("a", sources=(path,)), picture)]
    backend = ScriptedBackend(lambda messages, sampling: reply_text())
    batch = asyncio.run(Scorer(backend, settings=ONCE).score_many([*paths, Case(UserRequest("a"), picture)]))
    for outcome in batch.outcomes[:2]:
        assert isinstance(outcome, Unscored)
        assert outcome.reason == "bad_request"
        assert "open it with PIL.Image.open" in outcome.message
    assert isinstance(batch.outcomes[2], Critique)
    for method in ("pointwise", "pairwise"):
        with pytest.raises(RequestError, match=r"not the text 'picture\.png'"):
            asyncio.run(Scorer(backend, settings=ONCE).compare(UserRequest("a"), picture, path, method))
