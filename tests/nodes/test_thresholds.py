"""Minimums and weights as a user types them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.nodes.comfy_stub import Pack


@pytest.fixture(scope="module")
def thresholds(pack: Pack) -> Any:
    return pack.module("nodes.judge.thresholds")


@pytest.fixture(scope="module")
def rubric(pack: Pack) -> Any:
    return pack.core("rubric_file").generation_rubric()


def test_keys_and_titles_in_any_separation(thresholds: Any, rubric: Any) -> None:
    text = " text_faithfulness=3.5, Text Rendering : 3;\n\nPHYSICAL_QUALITY = 2\n"
    assert thresholds.parse_minimums(text, rubric) == {
        "text_faithfulness": 3.5,
        "text_rendering": 3.0,
        "physical_quality": 2.0,
    }
    assert thresholds.parse_minimums(" \n, ;", rubric) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("beauty=3", "there is no dimension 'beauty'; this rubric has text_faithfulness, physical_quality"),
        ("text_faithfulness", "is not a pair such as text_faithfulness=3"),
        ("text_faithfulness=", "needs a number"),
        ("text_faithfulness=high", "needs a number such as 3.5, not 'high'"),
        ("text_faithfulness=nan", "needs a number"),
        ("text_faithfulness=1e999", "needs a number"),
        ("text_faithfulness=5", "must be a score from 1 to 4, not 5"),
        ("text_faithfulness=0.5", "must be a score from 1 to 4"),
        ("text_faithfulness=3, Text Faithfulness=2", "given twice"),
        ("x" * 20_000, "20000 characters"),
        ("=3", "there is no dimension ''"),
    ],
)
def test_every_mistake_is_one_sentence(pack: Pack, thresholds: Any, rubric: Any, text: str, said: str) -> None:
    with pytest.raises(pack.core("errors").ConfigError) as caught:
        thresholds.parse_minimums(text, rubric)
    message = str(caught.value)
    assert message.startswith("minimums")
    assert said in message
    assert message.endswith(".")
    assert len(message) < 250


def test_weights(pack: Pack, thresholds: Any, rubric: Any) -> None:
    assert thresholds.parse_weights("text_faithfulness=2, text_rendering=0", rubric) == {
        "text_faithfulness": 2.0,
        "text_rendering": 0.0,
    }
    for text in ("text_faithfulness=-1", "text_faithfulness=0, physical_quality=0", "text_faithfulness=5000"):
        with pytest.raises(pack.core("errors").ConfigError):
            thresholds.parse_weights(text, rubric)


def test_gate(pack: Pack, thresholds: Any, rubric: Any) -> None:
    critique = pack.core("critique")

    def judged(faithfulness: float, quality: float, text: float | None) -> Any:
        scores = {"text_faithfulness": faithfulness, "physical_quality": quality, "text_rendering": text}
        return critique.Critique(
            rubric="generation",
            judgements=tuple(critique.Judgement(key=k, justification="", score=s) for k, s in scores.items()),
        )

    gate = thresholds.Gate(threshold=0.8, minimums={"text_rendering": 3.5})
    assert gate.passes(judged(4.0, 4.0, None), rubric), "N/A fails no minimum"
    assert gate.passes(judged(4.0, 4.0, 3.5), rubric)
    assert not gate.passes(judged(4.0, 4.0, 3.4), rubric)
    assert not gate.passes(judged(3.0, 3.0, None), rubric), "reward 0.67"
    assert thresholds.Gate(threshold=0.5).passes(judged(4.0, 1.0, None), rubric), "no minimum was given"
