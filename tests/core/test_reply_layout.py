"""The reply's layout: one list of openings and slots, and the headings that are read out of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rationalrewards_core.comparison import Comparison, PairJudgement, Verdict, parse_comparison, render_comparison
from rationalrewards_core.messages import pairwise_reply_format, reply_format
from rationalrewards_core.reply_layout import SUMMARY_LINE, fixed_stretches, reply_headings, reply_layout, written_out
from rationalrewards_core.rubric import RESERVED, Layout, Rubric
from rationalrewards_core.spelling import squeezed

BARE = Layout(analysis=False, score_first=True, refinement=False)


def test_no_dimension_can_have_a_heading_of_the_reply_as_its_title(generation: Rubric) -> None:
    alone, pair = reply_headings(generation), reply_headings(generation, pairwise=True)
    assert {squeezed(name) for name in (*alone.sections, *alone.fields, *pair.fields)} == RESERVED


@pytest.mark.parametrize("layout", [Layout(), BARE])
def test_every_opening_of_the_layout_has_its_headings_in_it_in_their_order(generation: Rubric, layout: Layout) -> None:
    rubric = replace(generation, layout=layout)
    skeleton = reply_format(rubric)
    wanted = [h for h in reply_headings(rubric).sections if f"# {h}" in skeleton]
    assert wanted == sorted(wanted, key=skeleton.index)
    assert ("# Summary" in skeleton, "# User Request Analysis" in skeleton) == (True, layout.analysis)
    assert reply_headings(rubric).sections == reply_headings(generation).sections, "judges write sections unasked"


def test_which_fields_hold_scores_and_which_notes(generation: Rubric) -> None:
    first = reply_headings(replace(generation, layout=BARE))
    assert (first.fields, first.scores, first.notes) == (("Score", "Justification"), ("Score",), ())
    pair = reply_headings(generation, pairwise=True)
    assert pair.fields == ("Justification", "Score A", "Score B", "Winner")
    assert (pair.scores, pair.notes) == (("Score A", "Score B"), ("Winner",))


@pytest.mark.parametrize("pairwise", [False, True])
def test_what_stands_between_slots_and_the_slots_are_the_whole_reply(generation: Rubric, pairwise: bool) -> None:
    parts = reply_layout(generation, pairwise=pairwise)
    stretches = "".join(f"{stretch}<{slot.kind}>" for slot, stretch in fixed_stretches(parts))
    assert stretches == written_out(parts, lambda slot: f"<{slot.kind}>")
    assert SUMMARY_LINE in (pairwise_reply_format(generation) if pairwise else reply_format(generation))


def test_a_comparison_that_is_written_reads_back(generation: Rubric) -> None:
    scores = [(3.5, 2.0), (2.0, 2.0), (None, None)]
    judgements = tuple(
        PairJudgement(key=d.key, justification=f"About {d.title.lower()}.", score_a=a, score_b=b)
        for d, (a, b) in zip(generation.dimensions, scores, strict=True)
    )
    text = render_comparison(Comparison(judgements=judgements, verdict=Verdict.A, summary="A is better."), generation)
    assert [line.removeprefix("## Winner: ") for line in text.splitlines() if line.startswith("## Winner")] == [
        "Image A",
        "It's a tie",
        "N/A",
    ]
    back = parse_comparison(text, generation)
    assert (back.judgements, back.verdict, back.summary) == (judgements, Verdict.A, "A is better.")
