"""Judge profiles: how other judges are asked, and that their replies are read strictly or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rationalrewards_core import UserRequest
from rationalrewards_core.comparison import Verdict, parse_comparison
from rationalrewards_core.errors import ConfigError, CritiqueParseError, RequestError
from rationalrewards_core.messages import Message, critique_messages, pairwise_messages
from rationalrewards_core.replies.parsing import Reason, parse_critique
from rationalrewards_core.rubric import Rubric
from rationalrewards_core.rubric_file import load_rubric, parse_rubric, rubric_to_toml, shipped_profiles

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
