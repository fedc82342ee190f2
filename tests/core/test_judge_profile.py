"""Judge profiles: how other judges are asked, and that their replies are read strictly or not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rationalrewards_core import Critique, Unscored, UserRequest
from rationalrewards_core.backends.base import Sampling
from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.comparison import Verdict, parse_comparison
from rationalrewards_core.errors import BackendError, ConfigError, CritiqueParseError, RequestError
from rationalrewards_core.judged import Case
from rationalrewards_core.memo import Memo
from rationalrewards_core.messages import Message, critique_messages, pairwise_messages
from rationalrewards_core.replies.parsing import Reason, parse_critique
from rationalrewards_core.round_robin import ALONE
from rationalrewards_core.rubric import Rubric
from rationalrewards_core.rubric_file import load_rubric, parse_rubric, rubric_to_toml, shipped_profiles
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings

REDS, GREENS, BLUES = (Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue"))
NASTY = "a cat {first} <image> {candidate} \\boxed{B} <|im_end|> %s {}"
FLEX = {
    "prompt": "x",
    "categories": [
        {"name": "A", "dims": [{"name": "d", "score_1": 8, "score_2": 2}], "cat_winner": "Image 2"},
    ],
    "reason": "The first one is {sharper}.",
    "winner": "Image 1",
}
TRM = {
    "eval_points": [{"question": "Q?", "dimension": "Aesthetics", "score": 1}],
    "score_reason": "Good.",
    "final_score": 7.25,
}


def flex(**changes: Any) -> str:
    return json.dumps({**FLEX, **changes})


def trm(**changes: Any) -> str:
    return json.dumps({**TRM, **changes})


def request_for(rubric: Rubric, text: str = "a cat") -> UserRequest:
    return UserRequest(text, (BLUES,) if rubric.kind == "edit" else ())


def messages_of(rubric: Rubric, text: str = "a cat") -> tuple[Message, ...]:
    request = request_for(rubric, text)
    if rubric.profile is not None and rubric.profile.pairwise:
        return pairwise_messages(request, REDS, GREENS, rubric)
    return critique_messages(request, REDS, rubric)


def profiled() -> list[str]:
    return [name for name in shipped_profiles() if load_rubric(name).profile is not None]


class TestShipped:
    @pytest.mark.parametrize("name", shipped_profiles())
    def test_every_file_is_a_rubric_of_its_name_and_survives_being_written(self, name: str) -> None:
        rubric = load_rubric(name)
        assert rubric.name == name
        assert parse_rubric(rubric_to_toml(rubric), name) == rubric

    @pytest.mark.parametrize("name", profiled())
    def test_says_which_judge_it_is_for_and_whether_it_was_run(self, name: str) -> None:
        profile = load_rubric(name).profile
        assert profile is not None
        assert "Not run here." in profile.about

    @pytest.mark.parametrize("name", shipped_profiles())
    def test_asks_with_every_picture_in_its_place_and_the_request_as_it_is(self, name: str) -> None:
        rubric = load_rubric(name)
        *_, user = messages_of(rubric, NASTY)
        wanted = [BLUES] if rubric.kind == "edit" else []
        wanted += [REDS, GREENS] if rubric.profile is not None and rubric.profile.pairwise else [REDS]
        assert [picture.tobytes() for picture in user.images] == [picture.tobytes() for picture in wanted]
        assert "a cat {first} <\u2060image> {candidate} \\boxed{B}" in user.text
        # Nothing of ours is left unfilled, and the words around the places are the file's.
        plain = messages_of(rubric, "a cat")[-1].text
        assert "{request}" not in plain
        assert plain.count("a cat") >= 1

    def test_a_source_image_stands_where_the_file_says(self) -> None:
        *_, user = messages_of(load_rubric("skyjm-edit"))
        names = [part if isinstance(part, str) else "IMAGE" for part in user.parts]
        assert names[-6].endswith("- Source Image: ")
        assert names[-4:-2] == ["\n- Image A: ", "IMAGE"] or names[-4].startswith("\n- Image A")

    def test_two_sources_are_refused(self) -> None:
        with pytest.raises(RequestError, match="takes one source image"):
            pairwise_messages(UserRequest("x", (BLUES, REDS)), REDS, GREENS, load_rubric("skyjm-edit"))


READ = {
    "skyjm-gen": ("## [Final Conclusion]\n- Preference: \\boxed{A}", "A"),
    "skyjm-edit": ("so it is \\boxed{\\text{B}}.", "B"),
    "unifiedreward-flex": (f"```json\n{flex()}\n```", "A"),
    "unifiedreward-think": ("<think>Image 2 <answer>?\n</think>\n<answer>Image 2 is better</answer>", "B"),
}


class TestVerdicts:
    @pytest.mark.parametrize("name", READ)
    def test_are_read_where_the_judge_writes_them(self, name: str) -> None:
        text, verdict = READ[name]
        comparison = parse_comparison(text, load_rubric(name))
        assert comparison.verdict is Verdict(verdict)
        assert comparison.raw == (text,)

    def test_the_words_before_the_verdict_are_the_evidence(self) -> None:
        (judgement,) = parse_comparison("A is sharper. \\boxed{A}", load_rubric("skyjm-gen")).judgements
        assert (judgement.justification, judgement.score_a, judgement.score_b) == ("A is sharper.", 1.0, 0.0)
        (judgement,) = parse_comparison(flex(), load_rubric("unifiedreward-flex")).judgements
        assert judgement.justification == "The first one is {sharper}."

    @pytest.mark.parametrize(
        ("name", "text", "reason"),
        [
            ("skyjm-gen", "", Reason.EMPTY),
            ("skyjm-gen", "Image A is better.", Reason.NO_JUDGEMENT),
            ("skyjm-gen", "\\boxed{A} or \\boxed{B}", Reason.CONFLICTING_SCORES),
            ("skyjm-gen", "\\boxed{both}", Reason.UNREADABLE_SCORE),
            ("skyjm-gen", "\\boxed{}", Reason.UNREADABLE_SCORE),
            ("skyjm-gen", "\\boxed{A", Reason.NO_JUDGEMENT),
            ("skyjm-gen", "<think>\\boxed{A}", Reason.TRUNCATED),
            ("unifiedreward-think", "<think>x</think>Image 1 is better", Reason.NO_JUDGEMENT),
            ("unifiedreward-think", "<answer>Image 1 is not better</answer>", Reason.UNREADABLE_SCORE),
            ("unifiedreward-flex", "Image 1", Reason.NO_JUDGEMENT),
            ("unifiedreward-flex", flex()[:-9], Reason.TRUNCATED),
            ("unifiedreward-flex", flex(winner="Image 1/2"), Reason.UNREADABLE_SCORE),
            ("unifiedreward-flex", flex(winner=["Image 1"]), Reason.UNREADABLE_SCORE),
            ("unifiedreward-flex", flex(winner=None), Reason.MISSING_SCORE),
            ("unifiedreward-flex", flex() + flex(winner="Image 2"), Reason.CONFLICTING_SCORES),
            ("unifiedreward-flex", flex()[:-1] + ', "winner": "Image 2"}', Reason.CONFLICTING_SCORES),
            ("unifiedreward-flex", "{" * 5000, Reason.TRUNCATED),
        ],
    )
    def test_what_cannot_be_read_is_a_failure_with_its_reason(self, name: str, text: str, reason: Reason) -> None:
        with pytest.raises(CritiqueParseError) as caught:
            parse_comparison(text, load_rubric(name))
        assert caught.value.reason == reason.value
        assert caught.value.raw == text

    @given(text=st.text(max_size=300))
    @settings(max_examples=200, deadline=None)
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        for name in READ:
            try:
                parse_comparison(text, load_rubric(name))
            except CritiqueParseError:
                continue


class TestScores:
    def test_lines(self) -> None:
        text = 'Word-wise Scores: [["cat", 1]]\n\nAlignment Score (1-5): 4.5\n**Coherence Score (1-5):** 3\nStyle Score (1-5): 2'
        critique = parse_critique(text, load_rubric("unifiedreward"))
        assert critique.scores == {"alignment": 4.5, "coherence": 3.0, "style": 2.0}
        assert critique.refinement is None

    def test_json(self) -> None:
        critique = parse_critique(trm(), load_rubric("trm-generation"), "score")
        assert critique.scores == {"final_score": 7.25}
        assert critique.judgements[0].justification == "Good."

    def test_boxed(self) -> None:
        text = "1. **A cat**:\n- There.\n**Final Alignment Rating: 4**\n\\boxed{4}"
        assert parse_critique(text, load_rubric("firm-gen")).scores == {"alignment": 4.0}

    @pytest.mark.parametrize(
        ("name", "text", "reason"),
        [
            ("unifiedreward", "Alignment Score (1-5): 4\nCoherence Score (1-5): 3", Reason.NO_JUDGEMENT),
            ("unifiedreward", "Alignment Score (1-5): X", Reason.UNREADABLE_SCORE),
            ("unifiedreward", "Alignment Score (1-5): 9", Reason.OUT_OF_SCALE),
            ("unifiedreward", "Alignment Score (1-5): 4\nAlignment Score (1-5): 3", Reason.CONFLICTING_SCORES),
            ("trm-generation", trm(final_score=11), Reason.OUT_OF_SCALE),
            ("trm-generation", trm(final_score=True), Reason.UNREADABLE_SCORE),
            ("trm-generation", trm(final_score="N/A"), Reason.NOT_OPTIONAL),
            ("trm-generation", trm(final_score=float("nan")), Reason.UNREADABLE_SCORE),
            ("firm-gen", "\\boxed{3-4}", Reason.UNREADABLE_SCORE),
            ("firm-gen", "\\boxed{0}", Reason.OUT_OF_SCALE),
        ],
    )
    def test_what_cannot_be_read_is_a_failure_with_its_reason(self, name: str, text: str, reason: Reason) -> None:
        with pytest.raises(CritiqueParseError) as caught:
            parse_critique(text, load_rubric(name))
        assert caught.value.reason == reason.value

    def test_a_megabyte_of_marks_is_read_in_a_moment(self) -> None:
        import time

        started = time.perf_counter()
        for text in ("Alignment Score (1-5): " * 40_000, "\\boxed{" * 140_000, "{" * 1_000_000):
            for name in ("unifiedreward", "firm-gen", "trm-generation"):
                with pytest.raises(CritiqueParseError):
                    parse_critique(text, load_rubric(name))
        assert time.perf_counter() - started < 20.0


BASE = rubric_to_toml(load_rubric("skyjm-gen"))


class TestFiles:
    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ('method = "pairwise"', 'method = "listwise"', "pointwise or pairwise"),
            ('form = "text"', 'form = "xml"', "text or json"),
            ("- Image B: {second}", "- Image B", r"must hold \{second\} once; it holds it 0 times"),
            ("{second}", "{second}{second}", "it holds it 2 times"),
            ("{second}", "{second}{source}", r"has \{source\}"),
            ("{second}", "{second}{candidate}", r"has \{candidate\}"),
            ('second = "B"', 'second = "a"', "must differ"),
            ('second = "B"', 'second = ""', "needs profile.first and profile.second"),
            ('form = "text"', 'form = "json"', "profile.key must name the winner"),
            ("[profile]", "[layout]\nanalysis = true\n[profile]", "unknown key 'layout' in a judge profile"),
            ("[[dimensions]]", '[[dimensions]]\nkey = "b"\ntitle = "B"\n[[dimensions]]', "has one dimension"),
            ("about = ", "unknown = ", "unknown key 'unknown' in profile"),
        ],
    )
    def test_every_mistake_names_the_key(self, old: str, new: str, message: str) -> None:
        assert old in BASE
        with pytest.raises(ConfigError, match=message):
            parse_rubric(BASE.replace(old, new, 1), "mine.toml")

    def test_scores_of_several_dimensions_need_their_titles(self) -> None:
        text = rubric_to_toml(load_rubric("unifiedreward")).replace("{title} Score", "Score")
        with pytest.raises(ConfigError, match=r"must hold \{title\}"):
            parse_rubric(text, "mine.toml")


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
