"""What a scorer remembers, and what callers that ask for the same at the same time share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from PIL import Image

from rationalrewards_core.backends.base import Reply, Sampling
from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.errors import BackendError, CritiqueParseError
from rationalrewards_core.judged import Case
from rationalrewards_core.memo import Memo
from rationalrewards_core.messages import Message, UserRequest
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings

Text = Callable[..., str]
ONCE = ScorerSettings(ask_again=0)


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
