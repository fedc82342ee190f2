"""expected and spread from token probabilities, against hand arithmetic."""

from __future__ import annotations

import math

import pytest

from rationalrewards_core.backends.base import Finish, Reply, TokenChoice
from rationalrewards_core.critique import Critique, Judgement
from rationalrewards_core.probabilities import score_statistics
from rationalrewards_core.rubric import Rubric


def reply_of(*tokens: str | tuple[str, dict[str, float]]) -> Reply:
    choices = [
        TokenChoice(t, ((t, 1.0),)) if isinstance(t, str) else TokenChoice(t[0], tuple(t[1].items())) for t in tokens
    ]
    return Reply(text="".join(c.text for c in choices), finish=Finish.STOP, model="m", tokens=tuple(choices))


def critique_of(first: float | None, second: float | None, third: float | None = None) -> Critique:
    keys = ("text_faithfulness", "physical_quality", "text_rendering")
    scores = (first, second, third)
    return Critique(
        rubric="generation",
        judgements=tuple(Judgement(key=k, justification="", score=s) for k, s in zip(keys, scores, strict=True)),
    )


def test_certain_digits_have_no_spread(generation: Rubric) -> None:
    reply = reply_of("## Score: ", "3", ".", "5", "\n## Score: ", "4", ".", "0", "\n## Score: N/A")
    found = score_statistics(reply, critique_of(3.5, 4.0), generation)
    assert found["text_faithfulness"] == (pytest.approx(3.5), pytest.approx(0.0))
    assert found["physical_quality"] == (pytest.approx(4.0), pytest.approx(0.0))
    assert "text_rendering" not in found


def test_mixture_of_levels_and_tenths(generation: Rubric) -> None:
    reply = reply_of(
        "## Score: ", ("3", {"3": 0.6, "2": 0.2, "x": 0.2}), ".", ("4", {"4": 0.5, "6": 0.5}),
        "\n## Score: ", ("4", {"4": 0.75, "3": 0.25}), ".", "0",
    )  # fmt: skip
    found = score_statistics(reply, critique_of(3.4, 4.0), generation)
    # Levels 3 and 2 at .75 and .25; level 3 has mean 3.5 and variance .01, level 2 is taken at 2.45 with .0825.
    mean = 0.75 * 3.5 + 0.25 * 2.45
    variance = 0.75 * (0.01 + (3.5 - mean) ** 2) + 0.25 * (0.0825 + (2.45 - mean) ** 2)
    assert found["text_faithfulness"] == (pytest.approx(mean), pytest.approx(math.sqrt(variance)))
    mean = 0.75 * 4 + 0.25 * 3.45
    assert found["physical_quality"][0] == pytest.approx(mean), "the maximum has no tenths"


def test_digits_inside_longer_tokens_are_left_alone(generation: Rubric) -> None:
    reply = reply_of("## Score: 3", ".", "5", "\n## Score: ", "4", ".", "0")
    found = score_statistics(reply, critique_of(3.5, 4.0), generation)
    assert list(found) == ["physical_quality"]


def test_no_tokens_or_other_counts_give_nothing(generation: Rubric) -> None:
    plain = Reply(text="## Score: 3.5", finish=Finish.STOP, model="m")
    assert score_statistics(plain, critique_of(3.5, 3.5), generation) == {}
    one = reply_of("## Score: ", "3", ".", "5")
    assert score_statistics(one, critique_of(3.5, 3.5), generation) == {}


def test_a_score_quoted_in_prose_is_not_taken_for_one(generation: Rubric) -> None:
    reply = reply_of(
        "## Justification: the sign says my Score: 1 today\n",
        "## Score: ",
        "3",
        ".",
        "5",
        "\n## Score: ",
        "4",
        ".",
        "0",
    )
    found = score_statistics(reply, critique_of(3.5, 4.0), generation)
    assert found["text_faithfulness"][0] == pytest.approx(3.5)
