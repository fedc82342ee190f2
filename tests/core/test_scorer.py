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
