"""Certainty by hand, and the ways of asking that it is compared over: sampled critiques, and scores without words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("xgrammar")

from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.comparison import Verdict
from rationalrewards_core.critique import Critique, Judgement
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.miniature import scorer_folder
from rationalrewards_core.miniature.drawings import draw_request
from rationalrewards_core.replies.parsing import parse_critique
from rationalrewards_core.rubric import Rubric
from rationalrewards_core.rubric_file import checkpoint_rubric, edit_rubric, generation_rubric
from rationalrewards_core.scorer_settings import ScorerSettings
from training.evaluate.judged import JudgedSet
from training.evaluate.report import report
from training.evaluate.running import JudgeSettings, load_judge
from training.rewards.certainty import calibration_error, risk_coverage
from training.rewards.judges import AskedPair
from training.rewards.opinions import Opinion
from training.rewards.wordless import wordless_grammar, wordless_reply, wordless_scorer

A, B = Verdict.A, Verdict.B


def opinions(*rows: tuple[float | None, bool]) -> list[Opinion]:
    """(gap, right) of pairs whose first picture is the better one; no gap is a failure."""
    return [
        Opinion(
            key=str(i),
            request_id=str(i),
            label=A,
            verdict=None if gap is None else Verdict.TIE if gap == 0 else A if right else B,
            rewards=None if gap is None else ((gap, 0.0) if right else (0.0, gap)),
        )
        for i, (gap, right) in enumerate(rows)
    ]


class TestRiskCoverage:
    def test_by_hand(self) -> None:
        """Four gaps of 0.9 right, four of 0.5 of which one is wrong, eight ties, four failures."""
        told = opinions(*[(0.9, True)] * 4, *[(0.5, True)] * 3, (0.5, False), *[(0.0, True)] * 8, *[(None, True)] * 4)
        found = risk_coverage(told)
        assert found is not None
        assert found.risk[:4].tolist() == [0.0] * 4
        assert found.risk[7] == pytest.approx(1 / 8)
        assert found.risk[15] == pytest.approx((1 + 4) / 16), "a tie is half wrong"
        assert found.risk[19] == pytest.approx((1 + 4 + 4) / 20), "a failure is wrong, and least sure"
        assert found.coverage[-1] == 1.0
        assert found.surest_half.value == pytest.approx((1 + 1) / 10)
        assert found.area.low < found.area.value < found.area.high

    def test_pairs_of_one_gap_have_one_place(self) -> None:
        """Which of them stands first in the file says nothing about certainty."""
        rows = [(0.5, i % 2 == 0) for i in range(10)] + [(0.2, True)] * 10
        forward, backward = risk_coverage(opinions(*rows)), risk_coverage(opinions(*reversed(rows)))
        assert forward is not None
        assert backward is not None
        assert forward.risk.tolist() == pytest.approx(backward.risk.tolist())
        assert forward.risk[0] == 0.5

    def test_too_few_pairs_and_judges_without_rewards_say_nothing(self) -> None:
        assert risk_coverage(opinions(*[(0.5, True)] * 19)) is None
        assert risk_coverage(opinions(*[(None, True)] * 30)) is None
        assert calibration_error(opinions(*[(0.5, True)] * 19)) is None


def test_a_sure_judge_that_is_wrong_is_found() -> None:
    rng = np.random.default_rng(1)
    gaps = rng.uniform(0.01, 1, 300)
    honest = opinions(*[(float(g), bool(rng.random() < 1 / (1 + np.exp(-4 * g)))) for g in gaps])
    bent = opinions(*[(float(g), bool(rng.random() < (0.95 if g < 0.5 else 0.55))) for g in gaps])
    errors = [calibration_error(told) for told in (honest, bent)]
    assert errors[0] is not None
    assert errors[1] is not None
    assert errors[0].value < errors[1].low
    text = report([JudgedSet("honest", honest), JudgedSet("bent", bent)])
    assert "## Certainty" in text
    areas = [risk_coverage(told) for told in (honest, bent)]
    assert areas[0] is not None
    assert areas[1] is not None
    assert areas[0].surest_half.value < areas[1].surest_half.value
    assert f"{areas[1].surest_half.value:.3f} (" in text


def scored(rubric: Rubric, *scores: float | None) -> Critique:
    judged = zip(rubric.dimensions, scores, strict=True)
    return Critique(
        rubric=rubric.name,
        analysis="One shape.",
        judgements=tuple(Judgement(key=d.key, justification="", score=s) for d, s in judged),
    )


class TestWordless:
    @pytest.mark.parametrize(("rubric", "scores"), [(generation_rubric(), (2.5, 4.0, None)), (edit_rubric(), (1.0, 3.2, 4.0, 2.0))])  # fmt: skip
    def test_the_grammar_allows_scores_and_nothing_else(self, rubric: Rubric, scores: tuple[float | None, ...]) -> None:
        text = wordless_reply(scored(rubric, *scores), rubric)
        import xgrammar

        described = xgrammar.TokenizerInfo([bytes([b]) for b in range(256)] + [b"</end>"], stop_token_ids=[256])
        grammar = xgrammar.GrammarCompiler(described, max_threads=1).compile_grammar(wordless_grammar(rubric))

        def accepted(reply: str) -> bool:
            matcher = xgrammar.GrammarMatcher(grammar)
            return all(matcher.accept_token(b) for b in reply.encode()) and matcher.accept_token(256)

        assert accepted(text)
        assert not accepted(text.replace("Justification: .", "Justification: It is red.", 1))
        assert not accepted(text + "\n# Summary: x")
        assert tuple(parse_critique(text, rubric, "score").scores.values()) == scores

    def test_it_needs_a_grammar(self) -> None:
        with pytest.raises(ConfigError, match="guided decoding"):
            wordless_scorer(ScriptedBackend(lambda *_: ""), {}, ScorerSettings(guided=False))

    def test_a_real_judge_writes_its_scores_at_once(self) -> None:
        """The shipped scorer in its own prompt and layout, whose headings are tokens that it knows."""
        picture = draw_request("a large red circle", 1)
        asked = AskedPair(UserRequest("a large red circle"), picture, Image.new("RGB", (48, 48)))
        words, wordless = (
            load_judge(JudgeSettings(judge="miniature", mode=mode, precision="fp32"))
            for mode in ("pointwise", "wordless-expected")
        )
        assert wordless.judge.name.endswith("wordless-expected")

        async def ask() -> tuple[dict[str, object], dict[str, object]]:
            told = await words.judge.judge(asked), await wordless.judge.judge(asked)
            await words.close()
            await wordless.close()
            return told

        with_words, without = asyncio.run(ask())
        assert with_words["verdict"] is A
        assert without["rewards"] is not None
        assert words.meter is not None
        assert wordless.meter is not None
        assert wordless.meter.completion_tokens < words.meter.completion_tokens, "headings are not spelled by letters"


def test_sampled_critiques_are_averaged(reply_text: Callable[..., str], tmp_path: Path) -> None:
    """The greedy critique gives 4, the samples 2, 3 and 4 by their seeds: their mean is the reward."""
    settings = JudgeSettings(judge="miniature", mode="sampled", samples=3)
    loaded = load_judge(settings)
    loaded.judge.scorer.backend = ScriptedBackend(  # type: ignore[attr-defined]
        lambda _, sampling: reply_text(1.0 + sampling.seed if sampling.seed else 4.0, 4.0)
    )
    picture = Image.new("RGB", (8, 8))
    told = asyncio.run(loaded.judge.judge(AskedPair(UserRequest("a large red circle"), picture, picture)))
    assert told["rewards"] == (pytest.approx((2 / 3 + 1) / 2), pytest.approx((2 / 3 + 1) / 2))
    assert told["scores"]["text_faithfulness"] == (4.0, 4.0), "the words shown are the greedy critique's"


def test_what_a_lesson_teaches() -> None:
    """The oracle's scores of the head's own pictures: three of them, or their mean as one."""
    from transformers import AutoTokenizer

    from training.lab.words.lessons import lesson_answer, lesson_rubric

    own = checkpoint_rubric(scorer_folder(), "generation")
    assert lesson_rubric("scores") == own
    truth = scored(generation_rubric(), 2.0, 4.0, None)
    assert parse_critique(lesson_answer("scores", "a", truth), lesson_rubric("scores"), "score").scores == truth.scores
    alone = lesson_answer("mean", "a", truth)
    assert parse_critique(alone, lesson_rubric("mean"), "score").scores == {"text_faithfulness": 3.0}
    tokeniser = AutoTokenizer.from_pretrained(scorer_folder())
    headings = set(tokeniser(lesson_answer("scores", "a", truth)).input_ids)
    assert headings.issuperset(tokeniser(alone.replace("3.0", "2.0")).input_ids), "it writes what the scorer writes"


def test_the_comparison_of_ways_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ways on a few real pictures; the second command draws and asks nothing."""
    pytest.importorskip("diffusers")
    from training.lab.words import pictures
    from training.lab.words.__main__ import compare
    from training.lab.words.ways import WordsOptions

    options = WordsOptions(ways=("wordless", "wordless-expected"), development=4, held_out=8)
    summary = compare(options, tmp_path)
    assert set(summary) == {"dev", "test"}
    assert set(summary["test"]) == {"wordless", "wordless-expected"}
    told = summary["test"]["wordless-expected"]
    assert told["pairs"] >= 20
    assert told["ties"] < summary["test"]["wordless"]["ties"], "expected scores hardly ever tie"
    assert told["minus_wordless"][1] <= told["minus_wordless"][0] <= told["minus_wordless"][2]
    assert (tmp_path / "curves.png").is_file()
    monkeypatch.setattr(pictures, "tuned_generator", None)
    assert compare(options, tmp_path) == json.loads((tmp_path / "summary.json").read_text()) == summary
    with pytest.raises(ConfigError, match="held_out was 8, is 9"):
        compare(WordsOptions(held_out=9, development=4), tmp_path)
