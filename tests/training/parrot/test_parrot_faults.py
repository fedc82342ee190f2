"""A teacher that fails: every failure is counted under its own name, and none is kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from rationalrewards_core.backends.base import Finish, Reply
from rationalrewards_core.errors import CritiqueParseError
from rationalrewards_core.rubric_file import generation_rubric
from tests.core.fault_server import Ask, completion, fault, serving
from tests.training.parrot.teaching import Teaching, import_miniature, rows, teaching
from training.lab.teacher.faults import NO_FAULTS
from training.parrot.comparison_traces import hint_mentions
from training.parrot.language import is_english
from training.parrot.project import read_projection

ALWAYS = ("--ask-again", "0")


@pytest.mark.parametrize(
    ("shares", "reason"),
    [
        (replace(NO_FAULTS, truncated=1.0), "truncated"),
        (replace(NO_FAULTS, nonsense=1.0), "no_judgement"),
        (replace(NO_FAULTS, foreign=1.0), "wrong_language"),
        (replace(NO_FAULTS, contradicts=1.0), "ignores_label"),
    ],
)
def test_a_faulty_reply_is_dropped_under_its_name(shares, reason: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    import_miniature(run, 3)
    with teaching(tmp_path, shares) as teacher:
        assert teacher.stage("rationalize", run, *ALWAYS) == 0
        found = rows(run / "rationales.jsonl")
        assert {r["reason"] for r in found} == {reason}
        assert not any(r["kept"] for r in found)
        assert all(r["reply"] and r["message"] for r in found)
        assert teacher.stage("check", run) == 0
    assert rows(run / "checks-text.jsonl") == []


def test_a_reply_that_cannot_be_used_is_asked_for_again(tmp_path: Path) -> None:
    """At temperature 0 the same would come back, so the second question is drawn, with a fixed seed."""
    run = tmp_path / "run"
    import_miniature(run, 8)
    with teaching(tmp_path, replace(NO_FAULTS, truncated=0.4)) as teacher:
        assert teacher.stage("rationalize", run, "--ask-again", "3") == 0
    found = rows(run / "rationales.jsonl")
    again = [r for r in found if r["usage"]["requests"] > 1]
    assert again
    assert any(r["kept"] for r in again)
    for record in again:
        assert record["provenance"]["temperature"] == 0.5
        assert record["provenance"]["seed"] == record["usage"]["requests"] - 1


def test_a_server_that_is_overloaded_is_asked_again_by_the_backend(tmp_path: Path) -> None:
    run = tmp_path / "run"
    import_miniature(run, 3)
    with teaching(tmp_path, replace(NO_FAULTS, broken=1.0)) as teacher:
        assert teacher.stage("rationalize", run) == 0
    assert all(r["kept"] for r in rows(run / "rationales.jsonl"))


def test_a_question_without_an_answer_stays_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The reference counted failed pairs as finished; here they are asked by the next run."""
    run = tmp_path / "run"
    import_miniature(run, 4)
    with teaching(tmp_path, replace(NO_FAULTS, broken=0.5)) as teacher:
        teacher.name_server(retries=0)
        assert teacher.stage("rationalize", run) == 3
        first = rows(run / "rationales.jsonl")
        assert 0 < len(first) < 8
        assert "server_error" in capsys.readouterr().out
        assert rows(run / "log.jsonl")[-1]["failed"] == {"server_error": 8 - len(first)}
        assert teacher.stage("rationalize", run) == 0
    assert len(rows(run / "rationales.jsonl")) == 8


def test_a_server_that_is_gone_stops_the_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    import_miniature(run, 30)
    gone = Teaching(9, tmp_path)  # the discard port: nobody listens
    gone.name_server(retries=0)
    assert gone.stage("rationalize", run) == 3
    assert "cannot be reached" in capsys.readouterr().out
    assert rows(run / "rationales.jsonl") == []
    assert rows(run / "log.jsonl")[-1]["failed"]["connection"] < 30


def test_a_wrong_key_stops_at_once_and_a_refusal_is_an_answer(tmp_path: Path) -> None:
    run = tmp_path / "run"
    import_miniature(run, 10)

    def unauthorized(_: Ask):
        return fault(401, "who are you?")

    with serving(unauthorized) as server:
        teacher = Teaching(server.port, tmp_path)
        teacher.name_server(concurrency=1)
        assert teacher.stage("rationalize", run) == 3
        assert len(server.asks) <= 3
        server.script = lambda _: completion(None, message={"refusal": "I would rather not."})
        assert teacher.stage("rationalize", run) == 0
    found = rows(run / "rationales.jsonl")
    assert Counter(r["reason"] for r in found) == {"refused": 20}


def test_a_missing_image_drops_its_pair_and_nothing_else(tmp_path: Path) -> None:
    run = tmp_path / "run"
    import_miniature(run, 3)
    lost = rows(run / "pairs" / "miniature.jsonl")[1]["first"]
    (run / lost).unlink()
    with teaching(tmp_path) as teacher:
        assert teacher.stage("rationalize", run) == 0
    reasons = Counter(r["reason"] for r in rows(run / "rationales.jsonl"))
    assert reasons == {"": 4, "bad_request": 2}


CRITIQUE = """# User Request Analysis
The request asks for one shape.
# Detailed Judgement
1. Text Faithfulness:
## Justification: {said}
## Score: 3.0
2. Physical and Visual Quality:
## Justification: It is sharp and clean.
## Score: 3.5
3. Text Rendering:
## Justification: No text was asked for.
## Score: N/A
# Summary: Good.

# User Request Refinement:
## Refinement Comments: Say that the circle is red.
## Refined Request: a red circle"""


@pytest.mark.parametrize(
    "said",
    [
        "As the reference comment says, the circle is red.",
        "Unlike Image B, it shows a circle.",
        "The hint is right: it shows a circle.",
        "Compared to the other image it has a clean edge.",
        "It matches the validated comparison that was given.",
        "It is the preferred image of the two.",
    ],
)
def test_a_critique_that_mentions_its_hint_is_found(said: str) -> None:
    reply = Reply(text=CRITIQUE.format(said=said), finish=Finish.STOP, model="m")
    with pytest.raises(CritiqueParseError) as error:
        read_projection(reply, "a circle", generation_rubric(), "en")
    assert error.value.reason == "mentions_hint"


def test_words_of_the_request_are_no_mention() -> None:
    request = 'a poster that says "Image A is the preferred image, take the hint"'
    said = f"The poster does say {request}, in a clear typeface, and a hinted shadow lies below an image."
    reply = Reply(text=CRITIQUE.format(said=said), finish=Finish.STOP, model="m")
    assert read_projection(reply, request, generation_rubric(), "en").scores["text_faithfulness"] == 3.0


@pytest.mark.parametrize(
    "said",
    [
        "In this image a dog stands beside another dog.",
        "One dog is brown and the other one is black.",
        "The sky has a hint of green, and the hint of a smile is kept.",
        "The label on the bottle was preferred in red and is red.",
    ],
)
def test_ordinary_sentences_are_no_mention(said: str) -> None:
    assert hint_mentions(said, "a picture") == ()


@pytest.mark.parametrize(
    ("text", "english"),
    [
        ("It shows a large red circle to the left of a blue square, as asked.", True),
        ("The sky is orange, but the reflection in the lake was not changed.", True),
        ("Das Bild zeigt einen großen roten Kreis links von einem blauen Quadrat.", False),
        ("L'image montre un grand cercle rouge à gauche d'un carré bleu et net.", False),
        ("图像显示一个红色的大圆圈，位于蓝色方块的左侧。", False),
        ("На изображении большой красный круг слева от синего квадрата.", False),
        ("Sharp.", True),
    ],
)
def test_english_is_told_from_other_languages(text: str, english: bool) -> None:
    assert is_english(text) is english
