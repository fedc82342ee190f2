"""Judges with a profile at work: comparisons in both orders, rankings, scores, and the commands that take a profile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rationalrewards_core import Critique, Unscored, UserRequest
from rationalrewards_core.backends.base import Sampling
from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.comparison import Verdict
from rationalrewards_core.errors import BackendError, ConfigError
from rationalrewards_core.judged import Case
from rationalrewards_core.memo import Memo
from rationalrewards_core.messages import Message
from rationalrewards_core.replies.parsing import Reason
from rationalrewards_core.round_robin import ALONE
from rationalrewards_core.rubric_file import load_rubric
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings
from tests.core.test_judge_profile import BLUES, GREENS, REDS, trm


def preferring(order: str) -> Any:
    """A judge that prefers by the pictures' colours, the earlier letter of `order` being better; `x` breaks the judge."""

    def answer(messages: Sequence[Message], sampling: Sampling) -> Any:
        names = {(255, 0, 0): "r", (0, 128, 0): "g", (0, 0, 255): "b"}
        first, second = (names[picture.getpixel((0, 0))] for picture in messages[-1].images)  # type: ignore[index]
        if "x" in order and "b" in (first, second):
            return BackendError("gone", reason="connection")
        return "\\boxed{A}" if order.index(first) < order.index(second) else "\\boxed{B}"

    return answer


def scorer_with(script: Any, name: str = "skyjm-gen") -> tuple[Scorer, ScriptedBackend]:
    backend, rubric = ScriptedBackend(script), load_rubric(name)
    return Scorer(backend, {rubric.kind: rubric}, ScorerSettings(ask_again=0)), backend


def cases(*pictures: Image.Image) -> list[Case]:
    return [Case(UserRequest("a cat"), picture) for picture in pictures]


class TestScorer:
    def test_compares_in_both_orders_in_the_judges_own_words(self) -> None:
        scorer, backend = scorer_with(preferring("rgb"))
        comparison = asyncio.run(scorer.compare(UserRequest("a cat"), REDS, GREENS))
        assert (comparison.verdict, comparison.orders_agree) == (Verdict.A, True)
        assert len(backend.calls) == 2
        for messages, sampling in backend.calls:
            assert "# Prompt\na cat\n" in messages[-1].text
            assert (sampling.max_tokens, sampling.grammar, sampling.stop) == (4096, None, ())

    def test_a_place_that_is_preferred_is_a_tie(self) -> None:
        scorer, _ = scorer_with(["\\boxed{A}", "\\boxed{A}"])
        comparison = asyncio.run(scorer.compare(UserRequest("a cat"), REDS, GREENS))
        assert (comparison.verdict, comparison.orders_agree) == (Verdict.TIE, False)

    def test_a_comparison_is_paid_for_once(self, tmp_path: Path) -> None:
        """Its two orders serve the swapped comparison, a ranking that holds the pair, and the next program's life."""
        request, rubric = UserRequest("a cat"), load_rubric("skyjm-gen")
        backend = ScriptedBackend(preferring("rgb"))

        def scorer() -> Scorer:
            return Scorer(
                backend, {rubric.kind: rubric}, ScorerSettings(ask_again=0), Memo(path=tmp_path / "memo.jsonl")
            )

        first = scorer()
        for pair in ((REDS, GREENS), (GREENS, REDS)):
            asyncio.run(first.compare(request, *pair))
        assert len(backend.calls) == 2
        again = asyncio.run(scorer().compare(request, REDS, GREENS))
        assert (again.verdict, again.judgements[0].score_a, len(backend.calls)) == (Verdict.A, 1.0, 2)
        batch = asyncio.run(scorer().score_many(cases(REDS, GREENS, BLUES), "score"))
        assert [critique.scores["preference"] for critique in batch.critiques] == [1.0, 0.5, 0.0]
        assert len(backend.calls) == 6

    def test_best_of_n_is_a_round_robin(self) -> None:
        scorer, backend = scorer_with(preferring("grb"))
        done: list[int] = []
        batch = asyncio.run(scorer.score_many(cases(REDS, GREENS, BLUES), "score", lambda i, _: done.append(i)))
        assert [scorer.reward(c, UserRequest("a cat")) for c in batch.critiques] == [0.5, 1.0, 0.0]
        assert len(backend.calls) == 6
        assert sorted(done) == [0, 1, 2]
        assert batch.critiques[0].judgements[0].justification == "Worse than image 2. Better than image 3."

    def test_requests_are_ranked_apart_and_order_is_kept(self) -> None:
        scorer, backend = scorer_with(preferring("rgb"))
        mixed = [Case(UserRequest("one"), REDS), Case(UserRequest("two"), GREENS), Case(UserRequest("one"), BLUES)]
        outcomes = asyncio.run(scorer.score_many(mixed)).outcomes
        assert [isinstance(o, Critique) for o in outcomes] == [True, False, True]
        assert isinstance(outcomes[1], Unscored)
        assert outcomes[1].reason == ALONE
        assert len(backend.calls) == 2

    def test_a_failed_meeting_is_no_number(self) -> None:
        scorer, _ = scorer_with(preferring("rgbx"))
        outcomes = asyncio.run(scorer.score_many(cases(REDS, GREENS, BLUES))).outcomes
        assert isinstance(outcomes[2], Unscored)
        assert (outcomes[2].reason, outcomes[2].message) == (
            "connection",
            "2 of 2 comparisons with other images failed: gone",
        )
        assert scorer.failures["connection"] >= 2
        assert isinstance(outcomes[0], Critique)
        assert outcomes[0].scores == {"preference": 1.0}
        assert "not judged (connection)" in outcomes[0].judgements[0].justification

    def test_it_gives_no_score_of_one_image(self) -> None:
        scorer, _ = scorer_with(preferring("rgb"))
        with pytest.raises(ConfigError, match="compares images and gives no scores of one"):
            asyncio.run(scorer.critique(UserRequest("a cat"), REDS))
        with pytest.raises(ConfigError, match="choose the method pairwise"):
            asyncio.run(scorer.compare(UserRequest("a cat"), REDS, GREENS, "pointwise"))

    def test_a_pointwise_profile_scores_and_compares_by_scores(self) -> None:
        scorer, backend = scorer_with([trm(final_score=8), trm(final_score=3), trm(final_score=9)], "trm-generation")
        critique = asyncio.run(scorer.critique(UserRequest("a dog"), REDS))
        assert scorer.reward(critique, UserRequest("a dog")) == 0.8
        assert backend.calls[0][1].grammar is None
        comparison = asyncio.run(scorer.compare(UserRequest("a cat"), REDS, GREENS))
        assert comparison.verdict is Verdict.B
        with pytest.raises(ConfigError, match="choose the method pointwise"):
            asyncio.run(scorer.compare(UserRequest("a cat"), REDS, GREENS, "pairwise"))

    def test_an_unreadable_score_is_unscored(self) -> None:
        scorer, _ = scorer_with(["no json"], "trm-generation")
        (outcome,) = asyncio.run(scorer.score_many(cases(REDS))).outcomes
        assert isinstance(outcome, Unscored)
        assert outcome.reason == Reason.NO_JUDGEMENT.value


class TestCommands:
    def test_rubric_shows_who_it_is_for_and_what_is_asked(self, capsys: Any) -> None:
        from rationalrewards_core.__main__ import main

        assert main(["rubric", "skyjm-gen"]) == 0
        shown = capsys.readouterr().out
        assert "SkyJM-Gen-4B/-9B, pairwise" in shown
        assert "trm-edit" in shown
        assert main(["rubric", "trm-edit", "--prompt"]) == 0
        shown = capsys.readouterr().out
        assert "[user]\n<image><image>The images are ordered" in shown
        assert main(["rubric", "skyjm-gen", "--grammar"]) == 2
        assert "without a grammar" in capsys.readouterr().err

    def test_score_and_compare_by_a_judge_that_compares(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: Any
    ) -> None:
        from rationalrewards_core import engines
        from rationalrewards_core.__main__ import main

        monkeypatch.setattr(engines, "make_backend", lambda *_: ScriptedBackend(preferring("grb")))
        files = []
        for name, picture in {"red": REDS, "green": GREENS, "blue": BLUES}.items():
            picture.save(tmp_path / f"{name}.png")
            files.append(str(tmp_path / f"{name}.png"))
        words = ["-p", "a cat", "--backend", "local:/x", "--rubric", "skyjm-gen", "--json"]
        assert main(["score", *files, *words]) == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [(row["image"], row["reward"]) for row in rows] == [(files[1], 1.0), (files[0], 0.5), (files[2], 0.0)]
        assert main(["compare", *files[:2], *words]) == 0
        assert json.loads(capsys.readouterr().out)["verdict"] == "B"
        assert main(["compare", *files[:2], *words, "--method", "pointwise"]) == 2
        assert "choose the method pairwise" in capsys.readouterr().err
        assert main(["critique", files[0], *words]) == 3  # it says so on the outcome: one image has nothing to meet

    def test_evaluation_takes_the_profile_and_says_which_mode(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
    ) -> None:
        from training.evaluate import running

        monkeypatch.setattr(running, "make_backend", lambda *_: ScriptedBackend(preferring("grb")))
        ask = {"judge": "local:/x", "rubric": "skyjm-gen", "precision": "fp32"}
        with pytest.raises(ConfigError, match="--mode pairwise"):
            running.load_judge(running.JudgeSettings(**ask))  # type: ignore[arg-type]
        loaded = running.load_judge(running.JudgeSettings(**ask, mode="pairwise"))  # type: ignore[arg-type]

        from training.rewards.judges import AskedPair

        asked = AskedPair(UserRequest("a cat"), REDS, GREENS)
        opinion = asyncio.run(loaded.judge.judge(asked))
        assert opinion["verdict"] is opinion["forward"] is opinion["backward"] is Verdict.B
