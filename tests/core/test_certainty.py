"""The measurement of how sure a judge is: its arithmetic by hand, and the real miniature on a few pictures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.certainty import ALL, REWARD, Certainty, SampledPicture, by_samples, by_tokens, row, run
from rationalrewards_core.critique import Critique, Judgement
from rationalrewards_core.rubric import Rubric


def critique_of(first: float, second: float, third: float | None = None) -> Critique:
    keys = ("text_faithfulness", "physical_quality", "text_rendering")
    scores = zip(keys, (first, second, third), strict=True)
    return Critique(rubric="r", judgements=tuple(Judgement(key=k, justification="", score=s) for k, s in scores))


def test_errors_and_spreads_by_hand(generation: Rubric) -> None:
    greedy = critique_of(3.0, 4.0)
    told = tuple(replace(j, expected=j.score, spread=0.3) if j.score else j for j in greedy.judgements)
    sampled = [critique_of(1.0, 4.0, 2.0), critique_of(3.0, 4.0), critique_of(4.0, 1.0)]
    case = SampledPicture(critique_of(2.0, 4.0, 4.0), replace(greedy, judgements=told), {1.0: sampled}, generation)
    by_two = dict(by_samples(case, 1.0, 2))
    assert by_two["text_faithfulness"] == Certainty(pytest.approx(2**0.5), 1.0, 0.0)
    assert by_two["physical_quality"] == Certainty(0.0, 0.0, 0.0)
    assert "text_rendering" not in by_two
    assert dict(by_tokens(case))["text_faithfulness"] == Certainty(0.3, 1.0, 1.0)
    assert dict(by_tokens(case))[REWARD].error == pytest.approx(abs((2 / 3 + 1) / 2 - (1 / 3 + 1 + 1) / 3))


def test_a_row_keeps_seen_spreads_apart() -> None:
    found = [Certainty(0.0, 0.0, 0.1), Certainty(0.04, 0.2, 0.3), Certainty(0.5, 1.0, 0.2)]
    name, way, n, *figures = row("x", "y", found)
    assert (name, way, n) == ("x", "y", 3)
    assert figures == pytest.approx([1.0, 0.4, 1 / 3, 1.0, 0.1, 0.2])


def test_the_miniature_is_measured() -> None:
    table = run(images=3, counts=(2,), temperatures=(1.0,))
    ways = [[cell.strip() for cell in line.split("|")[1:4]] for line in table.splitlines()[2:]]
    assert [REWARD, "2 at 1", "3"] in ways
    assert [of for of, *_ in ways].count(ALL) == 2
