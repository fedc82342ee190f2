"""The closed world: requests, edits, truth."""

from __future__ import annotations

import numpy as np
import pytest

from rationalrewards_core.critique import render_critique
from rationalrewards_core.errors import RequestError
from rationalrewards_core.miniature import EXAMPLE
from rationalrewards_core.miniature.edits import apply_edit, parse_edit, sample_edit
from rationalrewards_core.miniature.flaws import complete, flawed, sample_edited, sample_generation
from rationalrewards_core.miniature.truth import Defects, PictureContent, judge_edit, judge_generation
from rationalrewards_core.miniature.world import (
    Content,
    Thing,
    detailed_request,
    is_reserved,
    parse_request,
    sample_wish,
    short_request,
)
from rationalrewards_core.replies.parsing import parse_critique
from rationalrewards_core.reward import reward
from rationalrewards_core.rubric import Rubric

RED_LEFT = parse_request(EXAMPLE)


def scores(wish: Content, shown: Content, defects: Defects | None = None) -> list[float | None]:
    return [j.score for j in judge_generation(wish, PictureContent(shown, defects or Defects())).judgements]


def test_requests_read_back() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        wish = sample_wish(rng, omit=0.3)
        assert parse_request(short_request(wish)) == wish
        assert parse_request(detailed_request(wish, ("the circle is red",))) == wish


@pytest.mark.parametrize(
    "text", ["a cat", "", "a red circle left of", "a red circle and a blue square", EXAMPLE + " please"]
)
def test_other_requests_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(RequestError, match="large red circle"):
        parse_request(text)


def test_reserved_requests_are_a_fixed_share_and_never_sampled_for_training() -> None:
    rng = np.random.default_rng(1)
    assert not any(is_reserved(sample_wish(rng)) for _ in range(500))
    held = [sample_wish(rng, reserved=True, two=1.0) for _ in range(50)]
    assert all(is_reserved(wish) for wish in held)
    share = np.mean([is_reserved(Content((Thing(s, c, z), Thing(t, d, y)), r)) for s, c, z, t, d, y, r in _pairs(rng)])
    assert 0.08 < share < 0.18


def _pairs(rng: np.random.Generator) -> list[tuple[str, ...]]:
    rows = []
    for _ in range(2000):
        shapes = rng.permutation(["circle", "square", "triangle"])[:2]
        colours, sizes = rng.choice(["red", "green", "blue", "yellow"], 2), rng.choice(["small", "large"], 2)
        relation = rng.choice(["left of", "right of", "above", "below"])
        rows.append((shapes[0], colours[0], sizes[0], shapes[1], colours[1], sizes[1], relation))
    return [tuple(map(str, row)) for row in rows]


def test_a_perfect_picture_is_perfect() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        wish = sample_wish(rng, omit=0.3)
        found = scores(wish, complete(rng, wish))
        assert found == [4.0, 4.0, 4.0 if wish.word else None]


def test_the_same_content_told_from_the_other_side_is_the_same() -> None:
    assert scores(RED_LEFT, RED_LEFT.flipped()) == [4.0, 4.0, 4.0]


def test_every_flaw_costs_something_and_is_named() -> None:
    circle, square = RED_LEFT.things
    cases = [
        (Content((Thing("circle", "green", "large"), square), "left of", "OK"), "The circle should be red.", 2.9),
        (Content((Thing("circle", "red", "small"), square), "left of", "OK"), "The circle should be large.", 3.3),
        (
            Content((Thing("triangle", "red", "large"), square), "left of", "OK"),
            "The triangle should be a circle.",
            2.7,
        ),
        (Content((square,), None, "OK"), "The circle is missing.", 2.1),
        (Content((circle, square), "above", "OK"), "The circle should be left of the square.", 2.8),
        (Content((circle, square, Thing("triangle", "red", "small")), None, "OK"), "There is an extra", 1.9),
    ]
    for shown, sentence, score in cases:
        judged = judge_generation(RED_LEFT, PictureContent(shown)).judgement("text_faithfulness")
        assert sentence in judged.justification, judged
        assert judged.score == pytest.approx(score), shown


def test_words() -> None:
    def text(word: str | None, faint: bool = False) -> float | None:
        return scores(RED_LEFT, Content(RED_LEFT.things, "left of", word), Defects(faint=faint))[2]

    assert [text("OK"), text("OX"), text("XX"), text(None), text("OK", True)] == [4.0, 2.0, 1.0, 1.0, 3.0]


def test_visual_defects_cost_more_the_worse_they_are() -> None:
    for kind in ("blur", "noise", "blotches"):
        found = [scores(RED_LEFT, RED_LEFT, Defects(**{kind: level}))[1] for level in range(4)]
        assert found == sorted(found, reverse=True)  # type: ignore[type-var]
        assert len(set(found)) == 4
    assert scores(RED_LEFT, RED_LEFT, Defects(blur=3, noise=3, blotches=3))[1] == 1.0


def test_a_refinement_keeps_the_wish_and_stresses_what_went_wrong() -> None:
    shown = Content((Thing("circle", "green", "large"), RED_LEFT.things[1]), "left of", "OX")
    critique = judge_generation(RED_LEFT, PictureContent(shown))
    assert critique.refinement is not None
    assert parse_request(critique.refinement.request) == RED_LEFT
    assert "the circle is red" in critique.refinement.request
    assert 'the word reads "OK"' in critique.refinement.request


def test_edits_read_back_and_change_something() -> None:
    rng = np.random.default_rng(3)
    for _ in range(300):
        source = sample_wish(rng)
        edit = sample_edit(rng, source)
        assert parse_edit(str(edit)) == edit
        assert apply_edit(edit, source) != source


def test_a_perfect_edit_is_perfect_and_an_ignored_one_is_not() -> None:
    rng = np.random.default_rng(4)
    for _ in range(200):
        source = sample_wish(rng)
        edit = sample_edit(rng, source)
        done = judge_edit(edit, source, PictureContent(apply_edit(edit, source)))
        assert done.scores["text_faithfulness"] == 4.0, (str(edit), source)
        assert done.scores["image_faithfulness"] == 4.0, (str(edit), source)
        ignored = judge_edit(edit, source, PictureContent(source))
        assert ignored.scores["text_faithfulness"] == 1.0
        assert ignored.scores["image_faithfulness"] == 4.0, (str(edit), source)
        moved = judge_edit(edit, source, PictureContent(apply_edit(edit, source)), background_kept=False)
        assert moved.scores["image_faithfulness"] == 2.8


def test_every_example_parses_back_to_its_truth(generation: Rubric, edit: Rubric) -> None:
    rng = np.random.default_rng(5)
    for _ in range(300):
        for example, rubric in ((sample_generation(rng), generation), (sample_edited(rng), edit)):
            read = parse_critique(render_critique(example.critique, rubric), rubric)
            assert read.judgements == example.critique.judgements
            assert read.refinement == example.critique.refinement
            assert 0.0 <= reward(read, rubric) <= 1.0


def test_examples_cover_every_flaw_and_stay_balanced() -> None:
    rng = np.random.default_rng(6)
    examples = [sample_generation(rng) for _ in range(600)]
    words = " ".join(j.justification for e in examples for j in e.critique.judgements)
    for part in ("should be red", "missing", "extra", "left of the", "blurry", "noisy", "blotch", "cut off", "misshapen", "instead of", "faint"):  # fmt: skip
        assert part in words, part
    perfect = np.mean([e.critique.summary == "All as asked." for e in examples])
    assert 0.1 < perfect < 0.4


def test_a_fixed_number_of_flaws() -> None:
    rng = np.random.default_rng(7)
    wish = sample_wish(rng)
    assert flawed(rng, wish, 0) == PictureContent(complete(rng, wish))
